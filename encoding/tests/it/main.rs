//! Tests of the formats from outside the crate: golden bytes, refusals, and properties over random
//! bytes.
#![expect(clippy::indexing_slicing, reason = "a test that is wrong about a length shall fail")]

#[cfg(test)]
mod formats_page;
mod frozen;
mod golden;
mod properties;
