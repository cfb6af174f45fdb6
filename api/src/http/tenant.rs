//! Who asks: until identity comes, the business that the header names.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use axum::response::Response;
use domain::Principal;

use super::envelope::Failure;
use super::frame::{RequestContext, outside};

const TENANT: HeaderName = HeaderName::from_static("x-intellicartel-tenant");

/// A request's principal and context.
pub(super) struct Caller {
    pub(super) principal: Principal,
    pub(super) context: RequestContext,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        let context = parts.extensions.get::<RequestContext>().cloned();
        let context = context.ok_or_else(|| outside(Failure::defect()))?;
        let refuse = |message: String| {
            Failure::new(StatusCode::BAD_REQUEST, "TENANT_REQUIRED", message).into_response(&context)
        };
        let mut given = parts.headers.get_all(&TENANT).iter();
        let (first, second) = (given.next(), given.next());
        let Some(header) = first.filter(|_| second.is_none()) else {
            return Err(refuse("name your business in the header X-Intellicartel-Tenant, once".to_owned()));
        };
        let text = std::str::from_utf8(header.as_bytes())
            .map_err(|_| refuse("the header X-Intellicartel-Tenant is not UTF-8".to_owned()))?;
        let principal = Principal::tenant(text).map_err(|error| refuse(error.to_string()))?;
        Ok(Self { principal, context })
    }
}
