//! What a request or an answer carries: passed on as it comes, never gathered.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::record::Record;
use crate::door::patience::Patience;

/// The error of a body, whoever made it.
pub(crate) type Broken = Box<dyn std::error::Error + Send + Sync>;

/// What is carried, and who must hear of its progress.
pub(crate) struct Body {
    content: Content,
    hears: Hears,
}

enum Content {
    Empty,
    Said(Full<Bytes>),
    Passing(Incoming),
}

enum Hears {
    Nobody,
    /// Who waits for a client that sends nothing.
    Patience(Patience),
    /// Whose answer it is: at its end the request is over.
    Record(Box<Record>),
}

impl Body {
    /// Nothing.
    pub(crate) fn empty() -> Self {
        Self { content: Content::Empty, hears: Hears::Nobody }
    }

    /// Something that we say.
    pub(crate) fn said(text: impl Into<Bytes>) -> Self {
        Self { content: Content::Said(Full::new(text.into())), hears: Hears::Nobody }
    }

    /// A client's, on its way to an instance.
    pub(crate) fn asked(incoming: Incoming, patience: Patience) -> Self {
        Self { content: Content::Passing(incoming), hears: Hears::Patience(patience) }
    }

    /// An instance's, on its way to the client.
    pub(crate) fn answered(incoming: Incoming) -> Self {
        Self { content: Content::Passing(incoming), hears: Hears::Nobody }
    }

    /// The same; `record` hears of its end.
    pub(crate) fn told_to(self, mut record: Box<Record>) -> Self {
        if self.is_end_stream() {
            // Nobody will ask for what is not there.
            record.is_whole();
        }
        Self { hears: Hears::Record(record), ..self }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Self { content, hears } = self.get_mut();
        let polled = match content {
            Content::Empty => Poll::Ready(None),
            Content::Said(full) => Pin::new(full).poll_frame(context).map_err(|never| match never {}),
            Content::Passing(incoming) => Pin::new(incoming).poll_frame(context).map_err(Broken::from),
        };
        if let Hears::Patience(patience) = hears {
            patience.reads_body(polled.is_pending());
        }
        let frame = ready!(polled);
        if let Hears::Record(record) = hears {
            match &frame {
                Some(Ok(frame)) => record.sent(frame.data_ref().map_or(0, Bytes::len)),
                Some(Err(_)) => {}
                None => record.is_whole(),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Said(full) => full.is_end_stream(),
            Content::Passing(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Said(full) => full.size_hint(),
            Content::Passing(incoming) => incoming.size_hint(),
        }
    }
}
