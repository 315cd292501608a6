//! THE path of a request: calls every stage in order; nothing else calls them.
