//! Tries what Gannet may use of this kernel and prints one JSON object a feature: its name, whether Gannet needs it, and
//! how the trial failed if it did.

use kernel::probe::{Need, features};
use serde_json::json;

fn main() {
    for feature in features() {
        println!(
            "{}",
            json!({
                "feature": feature.name,
                "needed": feature.need == Need::Required,
                "absent": feature.absent,
            })
        );
    }
}
