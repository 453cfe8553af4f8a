//! What the program shows of a cluster: the bank's money, and how fast it is.

use std::{fs, path::Path};

use serde_json::Value;

use crate::cluster::{Cluster, chronon};

/// What a command says of a cluster, and how it ends.
fn ask(cluster: &Cluster, arguments: &[&str]) -> (Option<i32>, String) {
    let output = chronon().args(arguments).args(["--addresses", &cluster.joined_addresses()]).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn the_bank_moves_money_about_and_finds_all_of_it() {
    let cluster = Cluster::start_all_with("bank", 3, &["--application".to_owned(), "bank".to_owned()]);
    let some = ["bank", "--accounts", "10", "--transfers", "500"];
    let (status, said) = ask(&cluster, &[&some[..], &["--json"]].concat());
    let tally: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &tally["conserved"]), (Some(0), &true.into()), "{said}");
    assert_eq!((&tally["deposited"], &tally["found"]), (&10_000.into(), &10_000.into()));
    let [moved, refused] = ["transferred", "refused"].map(|key| tally[key].as_u64().unwrap());
    assert!(moved > 0 && moved + refused == 500, "{said}");
    let (status, said) = ask(&cluster, &some);
    assert!(status == Some(0) && said.contains("10,000 counted: not a coin was lost or made"), "{said}");
}

#[test]
fn a_bank_is_looked_for_in_vain_where_there_is_a_store_and_the_store_is_measured_beside_its_machine() {
    let cluster = Cluster::start("bench", 1);
    let (status, said) = ask(&cluster, &["bank"]);
    assert!(
        status == Some(2)
            && said.contains("runs kv, which `chronon kv` asks, and not bank or branch: nothing was sent"),
        "{said}"
    );
    let (status, said) = ask(&cluster, &["bench", "--requests", "1", "--clients", "1000000"]);
    assert!(
        status == Some(2) && said.contains("--clients 1000000: the cluster has room for the sessions of"),
        "{said}"
    );
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-limits-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    let bench = ["bench", "--requests", "200", "--clients", "4", "--json", "--limits", "--folder"];
    let (status, said) = ask(&cluster, &[&bench[..], &[folder.to_str().unwrap()]].concat());
    let measured: Value =
        serde_json::from_str(said.lines().skip_while(|line| *line != "{").collect::<String>().as_str()).unwrap();
    assert_eq!((status, &measured["requests"]), (Some(0), &200.into()), "{said}");
    let number = |key: &str| measured["limits"][key].as_u64().unwrap();
    assert!(number("durable_write_us") > 0, "{said}");
    assert_eq!(number("least_us"), number("durable_write_us") + 2 * number("round_trip_us"));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is left of it");
    fs::remove_dir(folder).unwrap();
}
