//! `net verify`.

use http::Method;
use serde_json::Value;

use super::{Cluster, list, text};
use crate::cli::{NetVerifyArguments, Output};

/// Prints what differs on each node; well if nothing does, or all of it was mended.
pub async fn run(cluster: &Cluster, arguments: &NetVerifyArguments) -> anyhow::Result<bool> {
    let method = if arguments.repair { Method::POST } else { Method::GET };
    let mut clean = true;
    let mut answers = serde_json::Map::new();
    for node in cluster.nodes(arguments.node.as_deref())? {
        let answer = cluster.ask(&node, method.clone(), "verify").await?;
        let differences = list(&answer, "differences");
        clean &= differences.is_empty();
        if arguments.output == Output::Text {
            let result = match (differences.len(), arguments.repair) {
                (0, _) => "the kernel's tables are as they should be".to_owned(),
                (count, true) => format!("{count} entries were mended"),
                (count, false) => format!("{count} entries are not as they should be"),
            };
            println!("node {node}: {result}");
            differences.iter().for_each(|one| println!("    {}", line(one)));
        }
        answers.insert(node, answer);
    }
    if arguments.output == Output::Json {
        println!("{}", Value::Object(answers));
    } else if !clean && !arguments.repair {
        println!("`gannet net verify --repair` mends them");
    }
    Ok(clean || arguments.repair)
}

fn line(difference: &Value) -> String {
    let service = difference["service"].as_str().map_or_else(String::new, |name| format!(" of service {name}"));
    let (table, entry, problem) = (text(difference, "table"), text(difference, "entry"), text(difference, "problem"));
    format!("{table}: {entry}{service}: {problem}")
}
