//! What `chathook dev` adds to the server: an HTTPS inbox that receives the webhooks, and a page
//! on which two sample users chat beside it. Nothing here is part of `chathook serve`.

pub mod feed;
pub mod inbox;
pub mod page;
pub mod start;

pub use inbox::{BasicCredentials, Inbox};
pub use page::{DevState, DevUser, only_local, router};
