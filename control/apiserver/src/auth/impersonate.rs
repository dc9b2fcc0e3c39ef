//! Impersonation: a user who may, acts as another one for one request.

use super::{
    ACCOUNT_PREFIX, ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User,
    authorize::{Attributes, Object, authorize},
};
use crate::{
    Apiserver,
    http::path::{Target, decode},
};
use api::Status;
use http::{HeaderMap, HeaderValue};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
/// Groups and extra values in one request; each costs a decision.
const WISH_LIMIT: usize = 200;

/// Who the request's headers ask to be; `None` if they ask nothing. Each part needs the verb `impersonate`.
pub(crate) async fn impersonate(server: &Apiserver, user: &User, headers: &HeaderMap) -> Result<Option<User>, Status> {
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Ok(None);
    }
    let wish = read(headers)?;
    if wish.name.is_empty() {
        if wish == User::default() {
            return Ok(None);
        }
        return Err(Status::bad_request("requested groups, uid or extra without impersonating a user"));
    }
    for target in targets(&wish) {
        let object = Object::Resource { target: &target, field_selector: "" };
        authorize(server, user, &Attributes { verb: "impersonate", object }).await?;
    }
    Ok(Some(complete(wish)))
}

/// What the headers say, as it stands there.
fn read(headers: &HeaderMap) -> Result<User, Status> {
    let text = |value: &HeaderValue| {
        value.to_str().map(str::to_owned).map_err(|_| Status::bad_request("an impersonation header is no text"))
    };
    let one = |name: &str| headers.get(name).map(text).transpose().map(Option::unwrap_or_default);
    let mut wish = User { name: one(USER)?, uid: one(UID)?, ..User::default() };
    for value in headers.get_all(GROUP) {
        wish.groups.push(text(value)?);
    }
    let mut values = wish.groups.len();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            let key = decode(key, false).unwrap_or_else(|| key.to_owned());
            wish.extra.entry(key).or_default().push(text(value)?);
            values += 1;
        }
    }
    if values > WISH_LIMIT {
        return Err(Status::bad_request(format!("more than {WISH_LIMIT} impersonated groups and extra values")));
    }
    Ok(wish)
}

/// The namespace and name of a service account's user name.
fn account(name: &str) -> Option<(&str, &str)> {
    let (namespace, name) = name.strip_prefix(ACCOUNT_PREFIX)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

fn targets(wish: &User) -> Vec<Target> {
    let core = |resource: &str, namespace: &str, name: &str| Target {
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Target::default()
    };
    let authentication = |resource: &str, name: &str, subresource: &str| Target {
        group: "authentication.k8s.io".to_owned(),
        subresource: subresource.to_owned(),
        ..core(resource, "", name)
    };
    let mut targets = vec![match account(&wish.name) {
        Some((namespace, name)) => core("serviceaccounts", namespace, name),
        None => core("users", "", &wish.name),
    }];
    targets.extend(wish.groups.iter().map(|group| core("groups", "", group)));
    for (key, values) in &wish.extra {
        targets.extend(values.iter().map(|value| authentication("userextras", value, key)));
    }
    if !wish.uid.is_empty() {
        targets.push(authentication("uids", &wish.uid, ""));
    }
    targets
}

/// Adds the groups that come with the name.
fn complete(mut user: User) -> User {
    if let Some((namespace, _)) = account(&user.name)
        && user.groups.is_empty()
    {
        user.groups = User::account_groups(namespace);
    }
    let implied = if user.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    if !user.is_in(implied) && !user.is_in(UNAUTHENTICATED) {
        user.groups.push(implied.to_owned());
    }
    user
}
