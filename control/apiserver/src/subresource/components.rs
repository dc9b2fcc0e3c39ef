//! componentstatuses: what the parts of the control plane are, made up when somebody asks. They are all in this
//! process, so whoever gets an answer at all finds them well.

use crate::{
    generic::{Context, encode},
    storage::{self, Stored},
};
use api::{Gvr, Revision, Status};
use client::Body;
use http::Response;
use serde_json::{Value, json};

const COMPONENTS: [(&str, &str); 3] = [("controller-manager", "ok"), ("etcd-0", "ok"), ("scheduler", "ok")];

pub(crate) async fn answer(context: &mut Context<'_>) -> Result<Response<Body>, Status> {
    let name = context.target.name.clone();
    if name.is_empty() {
        let revision = context.server.config.store.revision();
        let all: Vec<Value> = COMPONENTS.iter().map(|(name, message)| component(name, message)).collect();
        return encode::values(context, &all, revision);
    }
    let found = COMPONENTS.iter().find(|(known, _)| *known == name);
    let (name, message) = found.ok_or_else(|| Status::not_found(&Gvr::new("", "v1", "componentstatuses"), &name))?;
    let value = component(name, message);
    encode::object(context, 200, &Stored { bytes: storage::write(&value), value, revision: Revision(0) })
}

fn component(name: &str, message: &str) -> Value {
    json!({
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "conditions": [{"type": "Healthy", "status": "True", "message": message}],
    })
}
