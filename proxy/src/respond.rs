//! Responses made here: error pages, redirects, static answers; and what becomes of bodies on their way.

pub mod compress;
mod page;
mod status;

pub use page::{Page, PageError, Pages, Wanted, render};
pub use status::status_text;
