//! What a request or an answer carries: passed on as it comes, never gathered.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::progress::Progress;
use super::record::Record;

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
    /// Who waits for an answer to it.
    Progress(Rc<Progress>),
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
    pub(crate) fn asked(incoming: Incoming, progress: Rc<Progress>) -> Self {
        Self { content: Content::Passing(incoming), hears: Hears::Progress(progress) }
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

/// What comes of asking for more.
type Asked = Option<Result<Frame<Bytes>, Broken>>;

impl Content {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Asked> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Said(full) => Pin::new(full).poll_frame(context).map_err(|never| match never {}),
            Self::Passing(incoming) => Pin::new(incoming).poll_frame(context).map_err(Broken::from),
        }
    }

    fn is_at_end(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Said(full) => full.is_end_stream(),
            Self::Passing(incoming) => incoming.is_end_stream(),
        }
    }
}

impl Hears {
    /// Who carries it asks no more after what is known to be the last, and drops it.
    fn hear(&mut self, asked: &Asked, at_end: bool) {
        let (bytes, last) = match asked {
            Some(Ok(frame)) => (frame.data_ref().map_or(0, Bytes::len), at_end || frame.is_trailers()),
            Some(Err(_)) => {
                if let Self::Progress(progress) = self {
                    progress.is_broken_off();
                }
                return;
            }
            None => (0, true),
        };
        match self {
            Self::Nobody => {}
            Self::Progress(progress) if last => progress.is_at_end(),
            Self::Progress(progress) => progress.moves(),
            Self::Record(record) => {
                record.sent(bytes);
                if last {
                    record.is_whole();
                }
            }
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Asked> {
        let Self { content, hears } = self.get_mut();
        let polled = content.poll(context);
        if let (Hears::Progress(progress), Poll::Pending) = (&*hears, &polled) {
            progress.waits();
        }
        let frame = ready!(polled);
        hears.hear(&frame, content.is_at_end());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_at_end()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Said(full) => full.size_hint(),
            Content::Passing(incoming) => incoming.size_hint(),
        }
    }
}
