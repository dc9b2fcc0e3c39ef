//! Roles by name and bindings by subject, so that a decision looks at the bindings of one user only.

use super::rule::{Question, Rule};
use crate::auth::{ACCOUNT_PREFIX, User, follow::Fold};
use bytes::Bytes;
use serde_json::Value;
use std::{collections::BTreeMap, collections::HashMap, sync::Arc};

/// Everything that RBAC knows. Cheap to clone: what it holds is shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    cluster_roles: HashMap<String, Arc<[Rule]>>,
    /// By namespace and name.
    roles: HashMap<(String, String), Arc<[Rule]>>,
    cluster: Arc<Scope>,
    namespaces: HashMap<String, Arc<Scope>>,
}

/// The bindings of one namespace, or of the cluster, by subject and then by binding name.
#[derive(Debug, Clone, Default)]
struct Scope {
    users: HashMap<String, BTreeMap<String, Arc<Grant>>>,
    groups: HashMap<String, BTreeMap<String, Arc<Grant>>>,
}

/// One subject of one binding.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    binding: String,
    /// Empty for a ClusterRoleBinding.
    namespace: String,
    /// `ClusterRole` or `Role`.
    role_kind: String,
    role: String,
    /// `Group "g"`.
    subject: String,
}

impl Grant {
    /// Why it allows.
    pub(crate) fn reason(&self) -> String {
        let (kind, name) = if self.namespace.is_empty() {
            ("ClusterRoleBinding", self.binding.clone())
        } else {
            ("RoleBinding", format!("{}/{}", self.binding, self.namespace))
        };
        format!("RBAC: allowed by {kind} {name:?} of {} {:?} to {}", self.role_kind, self.role, self.subject)
    }
}

impl Index {
    /// The first grant that allows it.
    pub(crate) fn find(&self, user: &User, namespace: &str, question: &Question<'_>) -> Option<Arc<Grant>> {
        self.grants(user, namespace)
            .find(|grant| self.role(grant).is_some_and(|rules| rules.iter().any(|rule| rule.allows(question))))
            .cloned()
    }

    /// Every rule the user has in a namespace and in the cluster, and which roles bound to him do not exist.
    pub(crate) fn rules(&self, user: &User, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        for grant in self.grants(user, namespace) {
            match self.role(grant) {
                Some(found) => rules.extend(found.iter().cloned()),
                None => errors.push(missing_role(&grant.role_kind, &grant.role)),
            }
        }
        (rules, errors)
    }

    /// The rules of the role a binding in this namespace refers to.
    pub(crate) fn referred(&self, kind: &str, name: &str, namespace: &str) -> Option<Arc<[Rule]>> {
        match kind {
            "ClusterRole" => self.cluster_roles.get(name).cloned(),
            _ => self.roles.get(&(namespace.to_owned(), name.to_owned())).cloned(),
        }
    }

    fn role(&self, grant: &Grant) -> Option<Arc<[Rule]>> {
        self.referred(&grant.role_kind, &grant.role, &grant.namespace)
    }

    /// Grants of the cluster, then those of the namespace (none if it is empty).
    fn grants<'a>(&'a self, user: &'a User, namespace: &str) -> impl Iterator<Item = &'a Arc<Grant>> {
        let local = if namespace.is_empty() { None } else { self.namespaces.get(namespace) };
        [Some(&self.cluster), local].into_iter().flatten().flat_map(|scope| scope.of(user))
    }

    fn scope_mut(&mut self, namespace: &str) -> &mut Scope {
        if namespace.is_empty() {
            Arc::make_mut(&mut self.cluster)
        } else {
            Arc::make_mut(self.namespaces.entry(namespace.to_owned()).or_default())
        }
    }
}

/// What is said of a role that is not there.
pub(crate) fn missing_role(kind: &str, name: &str) -> String {
    format!("{}.rbac.authorization.k8s.io {name:?} not found", kind.to_lowercase())
}

impl Scope {
    fn of<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Arc<Grant>> {
        let groups = user.groups.iter().filter_map(|group| self.groups.get(group));
        self.users.get(&user.name).into_iter().chain(groups).flat_map(BTreeMap::values)
    }

    fn forget(&mut self, binding: &str) {
        for map in [&mut self.users, &mut self.groups] {
            map.retain(|_, grants| {
                grants.remove(binding);
                !grants.is_empty()
            });
        }
    }

    fn learn(&mut self, namespace: &str, name: &str, binding: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for subject in binding["subjects"].as_array().into_iter().flatten() {
            let (kind, who) = (text(&subject["kind"]), text(&subject["name"]));
            let own = text(&subject["namespace"]);
            let own = if own.is_empty() { namespace.to_owned() } else { own };
            let described = match kind.as_str() {
                "ServiceAccount" => format!("{kind} {:?}", format!("{who}/{own}")),
                _ => format!("{kind} {who:?}"),
            };
            let grant = Arc::new(Grant {
                binding: name.to_owned(),
                namespace: namespace.to_owned(),
                role_kind: text(&binding["roleRef"]["kind"]),
                role: text(&binding["roleRef"]["name"]),
                subject: described,
            });
            let (map, key) = match kind.as_str() {
                "User" => (&mut self.users, who),
                "Group" => (&mut self.groups, who),
                "ServiceAccount" if !own.is_empty() => (&mut self.users, format!("{ACCOUNT_PREFIX}{own}:{who}")),
                _ => continue,
            };
            map.entry(key).or_default().entry(name.to_owned()).or_insert(grant);
        }
    }
}

/// Where RBAC's objects are stored.
pub(crate) const PREFIX: &str = "/registry/rbac.authorization.k8s.io/";

impl Fold for Arc<Index> {
    fn clear(&mut self) {
        *self = Arc::default();
    }

    fn put(&mut self, key: &str, value: &Bytes) {
        let Some((kind, namespace, name)) = take_apart(key) else { return };
        let index = Arc::make_mut(self);
        let Ok(object) = serde_json::from_slice::<Value>(value) else {
            tracing::error!(key, "an RBAC object in the store is left out: it does not parse");
            return;
        };
        let rules = || -> Arc<[Rule]> { Rule::list(&object).into() };
        match kind {
            "clusterroles" => drop(index.cluster_roles.insert(name.to_owned(), rules())),
            "roles" => drop(index.roles.insert((namespace.to_owned(), name.to_owned()), rules())),
            _ => {
                let scope = index.scope_mut(namespace);
                scope.forget(name);
                scope.learn(namespace, name, &object);
            }
        }
    }

    fn remove(&mut self, key: &str) {
        let Some((kind, namespace, name)) = take_apart(key) else { return };
        let index = Arc::make_mut(self);
        match kind {
            "clusterroles" => drop(index.cluster_roles.remove(name)),
            "roles" => drop(index.roles.remove(&(namespace.to_owned(), name.to_owned()))),
            _ => index.scope_mut(namespace).forget(name),
        }
    }
}

/// Resource, namespace (empty if cluster-scoped) and name of a key below [`PREFIX`].
fn take_apart(key: &str) -> Option<(&str, &str, &str)> {
    let (kind, rest) = key.strip_prefix(PREFIX)?.split_once('/')?;
    match kind {
        "clusterroles" | "clusterrolebindings" => Some((kind, "", rest)),
        "roles" | "rolebindings" => rest.split_once('/').map(|(namespace, name)| (kind, namespace, name)),
        _ => None,
    }
}
