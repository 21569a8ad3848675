//! What is asked: paths, queries and bodies, with problems for those that cannot be.

use super::auth::Caller;
use super::problem::Problem;
use crate::names::{ClientId, EdgeName};
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// Something that is a JSON object. Without this an array of a struct's fields would do as well, which no document says.
#[derive(Debug, Default)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Object<T>, D::Error> {
        struct OfMap<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfMap<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        from.deserialize_map(OfMap(PhantomData)).map(Object)
    }
}

/// A JSON body, an object.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Json<T>, Problem> {
        let axum::Json(Object(body)) = axum::Json::from_request(request, state).await?;
        Ok(Json(body))
    }
}

/// A JSON body, or null, or none at all.
pub struct OptionalJson<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<OptionalJson<T>, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await?;
        if bytes.is_empty() {
            return Ok(OptionalJson(T::default()));
        }
        let request = Request::from_parts(parts, bytes.into());
        let axum::Json(body) = axum::Json::<Option<Object<T>>>::from_request(request, state).await?;
        Ok(OptionalJson(body.map(|Object(body)| body).unwrap_or_default()))
    }
}

/// A merge patch (RFC 7396), under its own content type or JSON's.
pub struct Patch<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Patch<T> {
    type Rejection = Problem;

    async fn from_request(mut request: Request, state: &S) -> Result<Patch<T>, Problem> {
        let headers = request.headers_mut();
        let is_patch =
            |value: &str| value.split(';').next().unwrap_or_default().trim() == "application/merge-patch+json";
        if headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(is_patch) {
            headers.insert(CONTENT_TYPE, axum::http::HeaderValue::from_static("application/json"));
        }
        let Json(body) = Json::from_request(request, state).await?;
        Ok(Patch(body))
    }
}

/// The parameters of a query.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Query<T>, Problem> {
        let axum::extract::Query(query) = axum::extract::Query::from_request_parts(parts, state).await?;
        Ok(Query(query))
    }
}

/// The parameters of a path.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, Problem> {
        let axum::extract::Path(path) = axum::extract::Path::from_request_parts(parts, state).await?;
        Ok(Path(path))
    }
}

/// Who asks, and about which client: themselves, or an operator about any.
pub struct About {
    /// Who asks.
    pub caller: Caller,
    /// The client in the path.
    pub id: ClientId,
}

impl<S: Send + Sync> FromRequestParts<S> for About {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<About, Problem> {
        #[derive(Deserialize)]
        struct Named {
            id: String,
        }
        let caller = Caller::from_request_parts(parts, state).await?;
        let Path(Named { id }) = Path::from_request_parts(parts, state).await?;
        let id = ClientId::new(&id).map_err(|error| Problem::bad_request(error.text))?;
        caller.may(&id)?;
        Ok(About { caller, id })
    }
}

/// The edge in the path.
pub struct OfEdge(pub EdgeName);

impl<S: Send + Sync> FromRequestParts<S> for OfEdge {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<OfEdge, Problem> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        let Path(Named { name }) = Path::from_request_parts(parts, state).await?;
        Ok(OfEdge(EdgeName::new(&name).map_err(|error| Problem::bad_request(error.text))?))
    }
}
