//! RBAC: roles, bindings, and what they come to.

pub(crate) mod bootstrap;
pub(crate) mod cover;
pub(crate) mod index;
pub(crate) mod rule;
#[cfg(test)]
mod tests;

use super::{User, authorize::Object};
use index::{Grant, Index};
use rule::{Question, Rule};
use std::sync::Arc;

/// The grant that allows it, or why there is none (usually empty).
pub(crate) fn decide(index: &Index, user: &User, verb: &str, object: &Object<'_>) -> Result<Arc<Grant>, String> {
    let combined;
    let (namespace, question) = match object {
        Object::Path(path) => ("", Question::Path { verb, path }),
        Object::Resource { target, .. } => {
            let (resource, subresource) = (target.resource.as_str(), target.subresource.as_str());
            let resource = if subresource.is_empty() {
                resource
            } else {
                combined = format!("{resource}/{subresource}");
                &combined
            };
            let (group, name) = (target.group.as_str(), target.name.as_str());
            (target.namespace.as_str(), Question::Resource { verb, group, resource, subresource, name })
        }
    };
    index.find(user, namespace, &question).ok_or_else(|| {
        let (_, errors) = index.rules(user, namespace);
        match &errors[..] {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        }
    })
}

/// Refuses to grant what the user does not hold: the text after `is forbidden: `.
pub(crate) fn confirm_no_escalation(
    index: &Index,
    user: &User,
    namespace: &str,
    wanted: &[Rule],
) -> Result<(), String> {
    let (held, errors) = index.rules(user, namespace);
    let missing = cover::missing(&held, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let tail = if errors.is_empty() { String::new() } else { format!("; resolution errors: [{}]", errors.join(" ")) };
    Err(format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}{tail}",
        user.name,
        rule::quoted(&user.groups),
        cover::describe(&missing).join("\n"),
    ))
}
