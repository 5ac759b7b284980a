//! The future of the layer.
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use portcullis_core::{Body, BoxError, Context, Problem, Refusable};
use tokio::time::timeout;
use tower_service::Service;

use crate::authorize::{Admitted, Settings};
use crate::judge::Head;
use crate::kinds::OBJECT_UNCHECKED;
use crate::policy::{Opinion, Policy, Question};

/// How long a policy may take.
const LONGEST: Duration = Duration::from_secs(5);

/// What a policy thinks that has to ask somebody, if it says so in the time that the request has.
pub(crate) async fn in_time(policy: &dyn Policy, question: &Question<'_>) -> Opinion {
    let context = question.context();
    let left = context.deadline().remaining(context.clock().now()).unwrap_or(LONGEST);
    let opinion = timeout(left.min(LONGEST), policy.decide(question)).await;
    opinion.unwrap_or_else(|_| Opinion::indeterminate("the policy has not answered in time"))
}

type Asking = Pin<Box<dyn Future<Output = (Parts, Opinion)> + Send>>;

/// A request about which a policy is being asked.
struct Waiting<S, R> {
    asking: Asking,
    inner: S,
    body: R,
    context: Context,
    settings: Arc<Settings>,
}

pin_project! {
    /// The response future of [`Authorize`](crate::Authorize).
    #[must_use = "futures do nothing unless polled"]
    pub struct AuthorizeFuture<S, R>
    where
        S: Service<Request<R>>,
    {
        #[pin]
        call: Option<Refusable<S::Future>>,
        waiting: Option<Box<Waiting<S, R>>>,
        // Of a route whose endpoint looks at its object.
        object: Option<Context>,
    }
}

impl<S: Service<Request<R>>, R> AuthorizeFuture<S, R> {
    pub(crate) fn refused(answer: Response<Body>) -> Self {
        Self { call: Some(Refusable::answered(answer)), waiting: None, object: None }
    }
    pub(crate) fn calling(inner: &mut S, request: Request<R>, context: Context) -> Self {
        let by_object = context.route().is_some_and(|route| route.access().checks_objects());
        let call = Some(Refusable::calling(inner.call(request)));
        Self { call, waiting: None, object: by_object.then_some(context) }
    }
    pub(crate) fn asking(
        inner: &mut S,
        request: Request<R>,
        context: Context,
        settings: Arc<Settings>,
        policy: Arc<dyn Policy>,
    ) -> Self
    where
        S: Clone,
    {
        // The clone may not be ready: keep it, and move out the one that is.
        let clone = inner.clone();
        let inner = mem::replace(inner, clone);
        let (head, body) = request.into_parts();
        let (about, settings_of) = (context.clone(), Arc::clone(&settings));
        let asking = Box::pin(async move {
            let opinion = match about.identity() {
                Some(identity) => {
                    let roles = Some(&settings_of.authorizer.judge.roles);
                    let question = Question { roles, ..Question::about(&about, identity, &head) };
                    in_time(&*policy, &question).await
                }
                None => Opinion::deny("not-authenticated"),
            };
            (head, opinion)
        });
        let waiting = Box::new(Waiting { asking, inner, body, context, settings });
        Self { call: None, waiting: Some(waiting), object: None }
    }
}

impl<S, R, B> Future for AuthorizeFuture<S, R>
where
    S: Service<Request<R>, Response = Response<B>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, S::Error>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Self::Output> {
        let mut answered = None;
        if let Some(waiting) = self.as_mut().project().waiting {
            answered = Some(ready!(waiting.asking.as_mut().poll(cx)));
        }
        if let (Some((head, opinion)), Some(waiting)) =
            (answered, self.as_mut().project().waiting.take())
        {
            let Waiting { mut inner, body, context, settings, .. } = *waiting;
            let Parts { method, uri, headers, .. } = &head;
            let next = match settings.admit(&context, Head { method, uri, headers }, Some(opinion))
            {
                Admitted::Yes => {
                    Self::calling(&mut inner, Request::from_parts(head, body), context)
                }
                Admitted::No(problem) => Self::refused(problem.respond(&context)),
                Admitted::Ask(_) => {
                    let problem = Problem::new(crate::kinds::AUTHORIZATION_UNAVAILABLE);
                    Self::refused(problem.respond(&context))
                }
            };
            self.set(next);
        }
        let this = self.project();
        let call = this.call.as_pin_mut().expect("who does not wait has begun");
        let response = ready!(call.poll(cx))?;
        if let Some(context) = this.object.take()
            && !context.is_object_checked()
            && !(response.status().is_client_error() || response.status().is_server_error())
        {
            let cause = "the route is `object_checked`, and its handler has asked about no object: ask the `Authorizer`, or drop the word";
            let problem = Problem::new(OBJECT_UNCHECKED).cause(cause);
            return Poll::Ready(Ok(problem.respond(&context)));
        }
        Poll::Ready(Ok(response))
    }
}

impl<S: Service<Request<R>>, R> fmt::Debug for AuthorizeFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = self.waiting.is_some();
        f.debug_struct("AuthorizeFuture").field("waits", &waits).finish_non_exhaustive()
    }
}
