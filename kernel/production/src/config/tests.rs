//! What a configuration may say, and in which words it is refused otherwise.

use chronon::effect::{Channel, Destination, Severity};

use super::*;
use crate::{disk::DiskChoice, sinks::HttpOptions, uring::DurableMode};

const LEAST: &str = "data = 'r0'\naddresses = ['127.0.0.1:4000']\n";

fn flags(given: &[(&str, &str)]) -> Flags {
    let mut flags = Flags::default();
    for (flag, value) in given {
        let value = value.to_string();
        match *flag {
            "config" => flags.config = Some(value.into()),
            "data" => flags.data = Some(value),
            "addresses" => flags.addresses = Some(value),
            "listen" => flags.listen = Some(value),
            "metrics" => flags.metrics = Some(value),
            "disk" => flags.disk = Some(value),
            "durable" => flags.durable = Some(value),
            "sockets" => flags.sockets = Some(value),
            "log-level" => flags.log_level = Some(value),
            "log-format" => flags.log_format = Some(value),
            "set" => flags.set.push(value),
            "sink" => flags.sink.push(value),
            _ => panic!("{flag}"),
        }
    }
    flags
}

fn refusal(result: Result<Config, ConfigError>) -> String {
    result.map_or_else(|error| error.to_string(), |config| panic!("accepted: {config:?}"))
}

#[test]
fn the_example_has_every_key_and_its_values_are_the_defaults() {
    let Config { options, log } = Config::from_toml(EXAMPLE).unwrap();
    let least = Config::from_toml(LEAST).unwrap();
    assert_eq!((options.addresses.len(), options.listen.is_some()), (3, true));
    let usual = Options { listen: options.listen, ..Options::new(options.data.clone(), options.addresses.clone()) };
    assert_eq!((format!("{options:?}"), log), (format!("{usual:?}"), least.log));
    let mut section = String::new();
    let named = EXAMPLE.lines().filter_map(|line| {
        let line = line.trim_start_matches("# ");
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = format!("{name}.");
        }
        let (key, _) = line.split_once(" = ")?;
        Some(format!("{section}{key}"))
    });
    let keys = KEYS.iter().map(|key| key.name.to_owned()).chain(sinks::fields());
    assert!(named.eq(keys), "each key once, in the order of KEYS");
    let sinks = EXAMPLE.lines().skip_while(|line| *line != "# [sinks.0]").map(|line| line.trim_start_matches("# "));
    let sinks: Vec<&str> = sinks.filter(|line| line.starts_with('[') || line.contains(" = ")).collect();
    let Config { options, .. } = Config::from_toml(&format!("{LEAST}{}", sinks.join("\n"))).unwrap();
    let HttpOptions { content_type, connect, start, total, response_bytes_max, .. } = HttpOptions::new(None);
    let said = format!("{:?}", options.sinks.of(Destination::Emit(Channel(0))).unwrap());
    for value in [
        format!("{content_type:?}"),
        format!("connect: {connect:?}, start: {start:?}, total: {total:?}"),
        format!("response_bytes_max: {response_bytes_max}"),
    ] {
        assert!(said.contains(&value), "{value}: {said}");
    }
}

#[test]
fn each_channel_has_its_sink_and_what_makes_no_sense_is_refused_with_the_nearest_that_does() {
    let given = [
        ("data", "r0"),
        ("addresses", "127.0.0.1:4000"),
        ("sink", "0=http://127.0.0.1:8080/letters"),
        ("sink", "others=file:letters.jsonl"),
        ("sink", "7 = log"),
        ("set", "sinks.0.total_ms=500"),
        ("sink", "fetch=anywhere"),
    ];
    let sinks = Config::load(&flags(&given)).unwrap().options.sinks;
    for (destination, words) in [
        (Destination::Emit(Channel(0)), "total: 500ms"),
        (Destination::Emit(Channel(7)), "LogSink"),
        (Destination::Emit(Channel(8)), "FileSink { path: \"letters.jsonl\""),
        (Destination::Fetch, "HttpSink { options: HttpOptions { url: None"),
        (Destination::Log(Severity::Info), "LogSink"),
    ] {
        let said = format!("{:?}", sinks.of(destination).unwrap());
        assert!(said.contains(words), "{words}: {said}");
    }
    let nobody = Config::from_toml(LEAST).unwrap().options.sinks;
    assert!(nobody.of(Destination::Emit(Channel(0))).is_none() && nobody.of(Destination::Fetch).is_none());
    let wanted = "an address as in http://127.0.0.1:8080/letters, a file as in file:letters.jsonl, or `log`";
    for (text, sentence) in [
        ("sinks.0.too = 'log'", "line 3: there is no key `sinks.0.too`; did you mean `sinks.0.to`?"),
        ("sinks.other.to = 'log'", "line 3: there is no key `sinks.other.to`; did you mean `sinks.others`?"),
        ("sinks.4294967296.to = 'log'", "line 3: there is no key `sinks.4294967296.to`"),
        ("sinks.0 = 'log'", "line 3: `sinks.0` is a table: write [sinks.0] above its keys"),
        ("sink.0 = 'log'", "line 3: there is no key `sink`; did you mean `sinks`?"),
        ("sinks.0.to = 'ftp://x'", &format!("line 3: `sinks.0.to` is {wanted}, and not `ftp://x`")),
        ("sinks.0.to = 'anywhere'", &format!("line 3: `sinks.0.to` is {wanted}, and not `anywhere`")),
        (
            "sinks.0.to = 'https://x'",
            "line 3: `sinks.0.to` is an address that begins with http://, and not `https://x`; let a proxy on this machine speak TLS",
        ),
        (
            "sinks.fetch.to = 'file:x'",
            "line 3: `sinks.fetch.to` is an address, or `anywhere` if what is fetched has whole ones, and not `file:x`",
        ),
        ("sinks.0.start_ms = 0", "line 3: `sinks.0.start_ms` is a number from 1 to 600000, and not 0"),
        ("sinks.0.start_ms = 9", &format!("`sinks.0.to` is missing: {wanted}")),
        ("[sinks.0]\nto = 'log'\nstart_ms = 9", "`sinks.0.start_ms` is for HTTP, and `sinks.0.to` is not"),
        (
            "[sinks.0]\nto = 'http://x'\nstatus_url = 'http://x/y'",
            "`sinks.0` needs an address with {id} where the effect's id is to stand, and not `http://x/y`",
        ),
    ] {
        assert_eq!(refusal(Config::from_toml(&format!("{LEAST}{text}"))), sentence, "{text}");
    }
    let refused = refusal(Config::load(&flags(&[("sink", "0")])));
    assert!(refused.starts_with("--sink 0: a channel and its sink"), "{refused}");
}

#[test]
fn a_mistake_in_a_text_is_one_sentence_with_its_line() {
    for (text, sentence) in [
        ("dta = 'r0'", "line 1: there is no key `dta`; did you mean `data`?"),
        ("[limits]\n\npipelin = 4", "line 3: there is no key `limits.pipelin`; did you mean `limits.pipeline`?"),
        ("ping_ms = 4", "line 1: there is no key `ping_ms`; did you mean `timeouts.ping_ms`?"),
        ("[logging]\nlevel = 'warn'", "line 1: there is no key `logging`; did you mean `log`?"),
        ("[limit]\npipeline = 4", "line 1: there is no key `limit`; did you mean `limits`?"),
        ("colour = 'red'", "line 1: there is no key `colour`"),
        ("limits = 3", "line 1: `limits` is a table: write [limits] above its keys"),
        ("data = 3", "line 1: `data` is the name of a file in quotes, and not a number"),
        ("addresses = '127.0.0.1:1'", "line 1: `addresses` is a list of addresses in brackets, and not a text"),
        ("addresses = [1]", "line 1: `addresses` is a list of addresses in quotes, and not a number"),
        (
            "addresses = ['localhost:1']",
            "line 1: `addresses` is an IP address with a port, as in 127.0.0.1:4000, and not `localhost:1`",
        ),
        ("listen = ['x']", "line 1: `listen` is an address in quotes, and not a list"),
        ("disk = 'fast'", "line 1: `disk` is one of `auto`, `uring`, `sync`, and not `fast`"),
        ("durable = true", "line 1: `durable` is one of `data-sync`, `linked-sync` in quotes, and not true or false"),
        ("[limits]\npipeline = 17", "line 2: `limits.pipeline` is a number from 1 to 16, and not 17"),
        ("[limits]\npipeline = -1", "line 2: `limits.pipeline` is a number from 1 to 16, and not -1"),
        ("[limits]\npipeline = '4'", "line 2: `limits.pipeline` is a number from 1 to 16, and not a text"),
        ("[limits]\nrequests_max = 0", "line 2: `limits.requests_max` is a number from 1 to 65536, and not 0"),
        ("[limits]\nqueries_max = 0", "line 2: `limits.queries_max` is a number from 1 to 65536, and not 0"),
        ("[timeouts]\nping_ms = 1.5", "line 2: `timeouts.ping_ms` is a number from 1 to 1000, and not a fraction"),
        (
            "[limits]\nqueue_bytes_max = '1KiB'",
            "line 2: `limits.queue_bytes_max` is a size from 16 KiB to 1 GiB, and not `1KiB`",
        ),
        (
            "[log]\nlevel = 1979-05-27",
            "line 2: `log.level` is one of `error`, `warn`, `info`, `debug`, `trace` in quotes, and not a date",
        ),
        // The first mistake is told, in the order of lines and not of names.
        ("data = 3\naddresses = 4", "line 1: `data` is the name of a file in quotes, and not a number"),
        ("data = 'r0'", "`addresses` is missing: give --addresses, or name a file that says it with --config"),
        ("addresses = ['127.0.0.1:1']", "`data` is missing: give --data, or name a file that says it with --config"),
        ("data = 'd'\naddresses = []", "`addresses` has 0: a cluster has 1 to 6 replicas"),
        (
            "data = 'd'\naddresses = ['127.0.0.1:1', '127.0.0.1:1']",
            "`addresses` names 127.0.0.1:1 twice: each replica has its own",
        ),
        (
            "data = 'd'\naddresses = ['127.0.0.1:1']\ntimeouts.election_ms = 50",
            "`timeouts.heartbeat_ms` is not below `timeouts.election_ms`: a primary must be heard of before it is given up",
        ),
    ] {
        assert_eq!(refusal(Config::from_toml(text)), sentence, "{text}");
    }
    for text in ["data = ", "data = 'a'\ndata = 'b'", "[log]\n[log]"] {
        let sentence = refusal(Config::from_toml(text));
        assert!(sentence.starts_with("line ") && !sentence.contains('\n'), "{sentence}");
    }
}

#[test]
fn every_limit_and_time_out_has_a_range_and_its_ends_are_within() {
    let numbers = KEYS.iter().filter(|key| key.name.starts_with("limits.") || key.name.starts_with("timeouts."));
    let mut ranges = 0;
    for key in numbers {
        let set = |value: &str| (key.set)(&mut Draft::new(), &Value::Text(value));
        let wrong = set("18446744073709551616").unwrap_err();
        let words: Vec<&str> = wrong.split([' ', ',']).collect();
        let at = words.iter().position(|word| *word == "to").unwrap();
        if words[1] == "number" {
            let (least, most): (u64, u64) = (words[at - 1].parse().unwrap(), words[at + 1].parse().unwrap());
            assert_eq!((set(&least.to_string()), set(&most.to_string())), (Ok(()), Ok(())), "{}", key.name);
            assert!(set(&(most + 1).to_string()).is_err(), "{}", key.name);
            assert!(least == 0 || set(&(least - 1).to_string()).is_err(), "{}", key.name);
        }
        ranges += 1;
    }
    assert_eq!(ranges, 13);
}

#[test]
fn flags_override_the_file_and_say_what_is_wrong_with_them() {
    let path = std::env::temp_dir().join(format!("chronon-config-{}.toml", std::process::id()));
    std::fs::write(&path, format!("{LEAST}[limits]\npipeline = 7\ncompany = 1\n")).unwrap();
    let file = path.to_str().unwrap();
    let given = [
        ("config", file),
        ("data", "r1"),
        ("addresses", "127.0.0.1:1, 127.0.0.1:2"),
        ("metrics", "127.0.0.1:9"),
        ("disk", "sync"),
        ("durable", "linked-sync"),
        ("log-level", "debug"),
        ("log-format", "json"),
        ("set", "limits.pipeline=9"),
        ("set", "limits.queue_bytes_max = 1MiB"),
    ];
    let Config { options, log } = Config::load(&flags(&given)).unwrap();
    assert_eq!((options.data, options.addresses.len(), options.disk), (PathBuf::from("r1"), 2, DiskChoice::Sync));
    assert_eq!((options.durable, options.metrics.map(|it| it.port())), (DurableMode::LinkedSync, Some(9)));
    assert_eq!(log, LogConfig { level: tracing::Level::DEBUG, format: LogFormat::Json });
    assert_eq!((options.pipeline, options.company, options.queue_bytes_max), (9, 1, 1 << 20));

    let refused = |given: &[(&str, &str)]| refusal(Config::load(&flags(given)));
    std::fs::write(&path, "data = 'a'\nx = 1").unwrap();
    assert_eq!(refused(&[("config", file)]), format!("{file}, line 2: there is no key `x`"));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(refused(&[("config", file)]), format!("{file} does not exist: check --config"));
    let endless = refused(&[("config", "/dev/zero")]);
    assert_eq!(endless, "/dev/zero has more than 1 MiB, and is no configuration: check --config");
    assert_eq!(refused(&[("disk", "x")]), "--disk: `disk` is one of `auto`, `uring`, `sync`, and not `x`");
    assert_eq!(refused(&[("set", "limits.pipe=8")]), "--set limits.pipe=8: there is no key `limits.pipe`");
    let pipeline = refused(&[("set", "limits.pipeline=x")]);
    assert_eq!(pipeline, "--set limits.pipeline=x: `limits.pipeline` is a number from 1 to 16, and not `x`");
    assert!(refused(&[("set", "limits.pipeline")]).contains("a key and its value"));
}
