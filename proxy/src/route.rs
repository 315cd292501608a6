//! Routes: host and path index, redirects, rewrites, header edits.
