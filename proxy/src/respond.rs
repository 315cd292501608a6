//! Responses made here: error pages, redirects, static answers, header edits.
