//! create.

use super::{
    Context,
    conform::conform,
    decode::decode_object,
    encode,
    options::{Apply, Options},
    owners::Owners,
    write::{self, Via, Write},
};
use crate::auth::authorize::authorize_request;
use api::Status;
use bytes::Bytes;
use client::Body;
use http::Response;

pub(crate) async fn create(context: &mut Context<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let Options { dry_run, validation, .. } = Options::read(context, Apply::No)?;
    let decoded = decode_object(&body, context.content_type.as_ref())?;
    let object = conform(&context.resource, decoded, validation, context.warnings)?;
    let stored = write::insert(&context.write(Via::Object, dry_run), object).await?;
    encode::object(context, 201, &stored)
}

impl Context<'_> {
    /// Checks that the user may create the object: an update or apply of one that is not there does.
    pub(crate) async fn may_create(&self) -> Result<(), Status> {
        authorize_request(self.server, &self.user, "create", &self.target, &self.query).await
    }

    /// A write of the request's object.
    pub(crate) fn write(&self, via: Via, dry_run: bool) -> Write<'_> {
        Write {
            server: self.server,
            user: &self.user,
            resource: &self.resource,
            namespace: &self.target.namespace,
            name: &self.target.name,
            via,
            dry_run,
            origin: self.origin,
            manager: &self.manager,
            subresource: &self.target.subresource,
            owners: Owners::Tracked,
        }
    }

    /// Which rules the request's writes obey.
    pub(crate) fn via(&self) -> Via {
        match self.target.subresource.as_str() {
            "status" => Via::Status,
            "approval" => Via::Approval,
            _ => Via::Object,
        }
    }
}
