//! Responses made here: error pages, redirects, static answers.

mod page;
mod status;

pub use page::{Page, PageError, Pages, Wanted, render};
pub use status::status_text;
