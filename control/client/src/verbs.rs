//! The verbs, typed and untyped, over any transport.

use crate::{
    Body, DeleteParams, Error, ListParams, Object, Patch, Transport, Watched, body, object_path,
    path::{collection_path, push_query},
    watch,
};
use api::{Gvr, Reason, Revision, Status};
use bytes::Bytes;
use futures::stream::BoxStream;
use http::{Method, Request, Response, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use std::{fmt, sync::Arc};

/// A handle on the API. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
}

/// A complete list at one revision.
#[derive(Debug, Clone)]
pub struct List<T> {
    /// In key order.
    pub items: Vec<T>,
    /// Watch from here to miss nothing.
    pub revision: Revision,
}

/// Pages of one list before it is given up (500 objects each: 5 million objects).
const PAGE_LIMIT: usize = 10_000;

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// Typed verbs. `namespace` is empty for cluster-scoped kinds.
impl Client {
    /// A client over this transport.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport }
    }

    /// One object.
    pub async fn get<T: Object>(&self, namespace: &str, name: &str) -> Result<T, Error> {
        self.call(Method::GET, object_path(&T::gvr(), namespace, name, None), None, Bytes::new()).await
    }

    /// One object, or `None` where there is none.
    pub async fn get_opt<T: Object>(&self, namespace: &str, name: &str) -> Result<Option<T>, Error> {
        match self.get(namespace, name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects, page by page, at one revision. An empty namespace means all namespaces.
    pub async fn list<T: Object>(&self, namespace: &str, params: &ListParams) -> Result<List<T>, Error> {
        self.list_all(&T::gvr(), namespace, params).await
    }

    /// Creates the object in the namespace its metadata names.
    pub async fn create<T: Object>(&self, object: &T) -> Result<T, Error> {
        let namespace = object.metadata().namespace.as_deref().unwrap_or_default();
        self.call(Method::POST, collection_path(&T::gvr(), namespace), Some(JSON), encode(object)?).await
    }

    /// Replaces the object; its resourceVersion, if set, must be the current one.
    pub async fn update<T: Object>(&self, object: &T) -> Result<T, Error> {
        self.put(object, None).await
    }

    /// Replaces the object's status.
    pub async fn update_status<T: Object>(&self, object: &T) -> Result<T, Error> {
        self.put(object, Some("status")).await
    }

    /// Patches the object or one of its subresources.
    pub async fn patch<T: Object>(
        &self,
        namespace: &str,
        name: &str,
        subresource: Option<&str>,
        patch: Patch,
    ) -> Result<T, Error> {
        let path = object_path(&T::gvr(), namespace, name, subresource);
        self.call(Method::PATCH, path, Some(patch.content_type()), encode(patch.value())?).await
    }

    /// Deletes the object. It may live on until its finalizers are gone or its grace is over.
    pub async fn delete<T: Object>(&self, namespace: &str, name: &str, params: &DeleteParams) -> Result<(), Error> {
        self.delete_value(&T::gvr(), namespace, name, params).await
    }

    /// Posts to a subresource: `binding`, `eviction`, `token`.
    pub async fn create_subresource<T: Object, B: Serialize, R: DeserializeOwned>(
        &self,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: &B,
    ) -> Result<R, Error> {
        let path = object_path(&T::gvr(), namespace, name, Some(subresource));
        self.call(Method::POST, path, Some(JSON), encode(body)?).await
    }

    /// Lists, then watches, for ever: reconnects, pages, and relists when the server has compacted the revision away.
    /// The stream never ends and never fails; what goes wrong is logged once and tried again with backoff.
    pub fn watch<T: Object>(&self, namespace: &str, params: &ListParams) -> BoxStream<'static, Watched<T>> {
        watch::watch(self.clone(), T::gvr(), namespace, params, |object: &T| {
            object.metadata().resource_version.as_deref().and_then(|version| version.parse().ok())
        })
    }

    async fn put<T: Object>(&self, object: &T, subresource: Option<&str>) -> Result<T, Error> {
        let meta = object.metadata();
        let name = meta.name.as_deref().ok_or(Error::Unnamed)?;
        let path = object_path(&T::gvr(), meta.namespace.as_deref().unwrap_or_default(), name, subresource);
        self.call(Method::PUT, path, Some(JSON), encode(object)?).await
    }
}

/// Untyped verbs, for code that knows kinds by name only (garbage collection, namespaces, the CLI).
impl Client {
    /// One object.
    pub async fn get_value(&self, gvr: &Gvr, namespace: &str, name: &str) -> Result<Value, Error> {
        self.call(Method::GET, object_path(gvr, namespace, name, None), None, Bytes::new()).await
    }

    /// All objects at one revision.
    pub async fn list_value(&self, gvr: &Gvr, namespace: &str, params: &ListParams) -> Result<List<Value>, Error> {
        self.list_all(gvr, namespace, params).await
    }

    /// Creates the object in the namespace given.
    pub async fn create_value(&self, gvr: &Gvr, namespace: &str, object: &Value) -> Result<Value, Error> {
        self.call(Method::POST, collection_path(gvr, namespace), Some(JSON), encode(object)?).await
    }

    /// Replaces the object, or its subresource.
    pub async fn update_value(
        &self,
        gvr: &Gvr,
        namespace: &str,
        name: &str,
        subresource: Option<&str>,
        object: &Value,
    ) -> Result<Value, Error> {
        self.call(Method::PUT, object_path(gvr, namespace, name, subresource), Some(JSON), encode(object)?).await
    }

    /// Patches the object, or its subresource.
    pub async fn patch_value(
        &self,
        gvr: &Gvr,
        namespace: &str,
        name: &str,
        subresource: Option<&str>,
        patch: Patch,
    ) -> Result<Value, Error> {
        let path = object_path(gvr, namespace, name, subresource);
        self.call(Method::PATCH, path, Some(patch.content_type()), encode(patch.value())?).await
    }

    /// Deletes the object.
    pub async fn delete_value(
        &self,
        gvr: &Gvr,
        namespace: &str,
        name: &str,
        params: &DeleteParams,
    ) -> Result<(), Error> {
        let path = object_path(gvr, namespace, name, None);
        let _: serde::de::IgnoredAny = self.call(Method::DELETE, path, Some(JSON), encode(&params.to_value())?).await?;
        Ok(())
    }

    /// Deletes all objects that match.
    pub async fn delete_collection_value(
        &self,
        gvr: &Gvr,
        namespace: &str,
        list: &ListParams,
        params: &DeleteParams,
    ) -> Result<(), Error> {
        let mut path = collection_path(gvr, namespace);
        push_selectors(&mut path, list);
        let _: serde::de::IgnoredAny = self.call(Method::DELETE, path, Some(JSON), encode(&params.to_value())?).await?;
        Ok(())
    }

    /// Posts to a subresource.
    pub async fn create_subresource_value(
        &self,
        gvr: &Gvr,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: &Value,
    ) -> Result<Value, Error> {
        self.call(Method::POST, object_path(gvr, namespace, name, Some(subresource)), Some(JSON), encode(body)?).await
    }

    /// [`Client::watch`] without types.
    pub fn watch_value(&self, gvr: &Gvr, namespace: &str, params: &ListParams) -> BoxStream<'static, Watched<Value>> {
        watch::watch(self.clone(), gvr.clone(), namespace, params, |object: &Value| {
            object.pointer("/metadata/resourceVersion").and_then(Value::as_str).and_then(|version| version.parse().ok())
        })
    }

    /// Any request; the response comes back whatever its status. The URI is a path with a query.
    pub async fn raw(&self, request: Request<Bytes>) -> Result<Response<Body>, Error> {
        self.transport.send(request).await
    }

    /// Fetches a path and reads the whole answer; an error status becomes [`Error::Status`].
    pub async fn get_bytes(&self, path_and_query: &str) -> Result<Bytes, Error> {
        let request = request(Method::GET, path_and_query, None, Bytes::new())?;
        body::collect(expect_success(self.transport.send(request).await?).await?.into_body()).await
    }
}

impl Client {
    async fn call<R: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<R, Error> {
        let response = self.transport.send(request(method, &path, content_type, body)?).await?;
        let bytes = body::collect(expect_success(response).await?.into_body()).await?;
        body::decode(&bytes)
    }

    async fn list_all<T: DeserializeOwned>(
        &self,
        gvr: &Gvr,
        namespace: &str,
        params: &ListParams,
    ) -> Result<List<T>, Error> {
        let mut items = Vec::new();
        let mut continue_token = None;
        for _ in 0..PAGE_LIMIT {
            let page: Page = self.page(gvr, namespace, params, continue_token.as_deref()).await?;
            let revision = page.revision();
            for item in &page.items {
                items.push(body::decode(item.get().as_bytes())?);
            }
            match page.metadata.continue_token {
                token if token.is_empty() => return Ok(List { items, revision }),
                token => continue_token = Some(token),
            }
        }
        Err(Error::TooLarge { limit: PAGE_LIMIT })
    }

    pub(crate) async fn page(
        &self,
        gvr: &Gvr,
        namespace: &str,
        params: &ListParams,
        continue_token: Option<&str>,
    ) -> Result<Page, Error> {
        let mut path = collection_path(gvr, namespace);
        let limit = if params.limit == 0 { ListParams::PAGE } else { params.limit };
        push_query(&mut path, "limit", &limit.to_string());
        if let Some(token) = continue_token {
            push_query(&mut path, "continue", token);
        }
        push_selectors(&mut path, params);
        self.call(Method::GET, path, None, Bytes::new()).await
    }

    pub(crate) async fn open_watch(
        &self,
        gvr: &Gvr,
        namespace: &str,
        params: &ListParams,
        after: Revision,
        timeout_s: u64,
    ) -> Result<Body, Error> {
        let mut path = collection_path(gvr, namespace);
        push_query(&mut path, "watch", "true");
        push_query(&mut path, "allowWatchBookmarks", "true");
        push_query(&mut path, "resourceVersion", &after.to_string());
        push_query(&mut path, "timeoutSeconds", &timeout_s.to_string());
        push_selectors(&mut path, params);
        let response = self.transport.send(request(Method::GET, &path, None, Bytes::new())?).await?;
        Ok(expect_success(response).await?.into_body())
    }
}

/// One page of a list, its items still as bytes.
#[derive(Deserialize)]
pub(crate) struct Page {
    #[serde(default)]
    pub(crate) metadata: PageMeta,
    #[serde(default)]
    pub(crate) items: Vec<Box<RawValue>>,
}

#[derive(Deserialize, Default)]
pub(crate) struct PageMeta {
    #[serde(rename = "resourceVersion", default)]
    resource_version: String,
    #[serde(rename = "continue", default)]
    pub(crate) continue_token: String,
}

impl Page {
    pub(crate) fn revision(&self) -> Revision {
        self.metadata.resource_version.parse().unwrap_or(Revision(0))
    }
}

const JSON: &str = "application/json";

#[inline(never)]
fn encode<T: Serialize + ?Sized>(object: &T) -> Result<Bytes, Error> {
    serde_json::to_vec(object).map(Bytes::from).map_err(Error::Encode)
}

fn request(method: Method, path: &str, content_type: Option<&str>, body: Bytes) -> Result<Request<Bytes>, Error> {
    let mut builder = Request::builder().method(method).uri(path).header(header::ACCEPT, JSON);
    if let Some(content_type) = content_type {
        builder = builder.header(header::CONTENT_TYPE, content_type);
    }
    Ok(builder.body(body)?)
}

fn push_selectors(path: &mut String, params: &ListParams) {
    if !params.label_selector.is_empty() {
        push_query(path, "labelSelector", &params.label_selector);
    }
    if !params.field_selector.is_empty() {
        push_query(path, "fieldSelector", &params.field_selector);
    }
}

/// Turns an error answer into its Status. An answer that is none (a proxy's page) becomes a Status with its code.
async fn expect_success(response: Response<Body>) -> Result<Response<Body>, Error> {
    if response.status().is_success() {
        return Ok(response);
    }
    let code = response.status().as_u16();
    let bytes = body::collect(response.into_body()).await?;
    Err(serde_json::from_slice::<Status>(&bytes)
        .unwrap_or_else(|_| Status::failure(code, Reason::Unknown, String::from_utf8_lossy(&bytes).trim()))
        .into())
}
