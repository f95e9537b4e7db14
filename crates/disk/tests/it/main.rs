//! Limited room on the real kernel, filled by programs that want more.

mod images;
mod quotas;
mod support;
