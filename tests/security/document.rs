//! SECURITY.md says what the code does: its tables hold every operation, registration and flag.

use std::collections::BTreeMap;

const DOCUMENT: &str = include_str!("../../SECURITY.md");
const REQUESTS: &str = include_str!("../../runtime/src/sqe.rs");
const CALLS: &str = include_str!("../../runtime/src/sys/linux.rs");
const DRIVER: [&str; 4] = [
    include_str!("../../runtime/src/driver/uring/mod.rs"),
    include_str!("../../runtime/src/driver/uring/setup.rs"),
    include_str!("../../runtime/src/driver/uring/buffers.rs"),
    include_str!("../../runtime/src/driver/uring/wake.rs"),
];

/// The rows of the table whose first column is headed by `head`: name and number.
fn table(head: &str) -> BTreeMap<String, u8> {
    let begins = |line: &&str| !line.starts_with(&format!("| {head} |"));
    let rows = DOCUMENT.lines().skip_while(begins).skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let parse = |cells: Vec<&str>| {
        (cells[1].trim_matches('`').to_string(), cells[2].parse().expect("a number"))
    };
    cells.map(parse).collect()
}

/// The lines `NAME = number` of `text`, which `prefix` begins, as far as `wanted` takes the name.
fn constants(text: &str, prefix: &str, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, u8> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix(prefix));
    let pairs = lines.filter_map(|line| line.split_once(" = "));
    let named = pairs.map(|(name, value)| {
        let name = name.split(':').next().unwrap_or(name);
        (name.to_string(), value.trim_end_matches([',', ';']).parse().ok())
    });
    named.filter_map(|(name, value)| Some((name, value?))).filter(|(n, _)| wanted(n)).collect()
}

#[test]
fn the_operations_are_those_of_the_code() {
    let (_, list) = REQUESTS.split_once("    opcodes! {").expect("the one list");
    let (list, _) = list.split_once('}').expect("its end");
    let listed = constants(list, "", |_| true);
    assert!(listed.len() > 10, "{listed:?}");
    assert_eq!(table("`IORING_OP_`"), listed);
}

#[test]
fn the_registrations_are_those_of_the_code() {
    let documented = table("io_uring_register(2)");
    // Those that are made by hand. Sending a message is an operation without a ring.
    let by_hand = constants(CALLS, "const ", |name| {
        name.contains("REGISTER_") && !name.starts_with("ENTER_")
    });
    for (name, number) in &by_hand {
        let name = name.replace("UNREGISTER_", "UN\0").replace("REGISTER_", "");
        let name = name.replace("UN\0", "UNREGISTER_");
        assert_eq!(documented.get(&name), Some(number), "{name}");
    }
    // Those of the `io-uring` crate, by the names of its methods.
    let mut methods = Vec::new();
    for code in DRIVER {
        let calls = code.split(".register_").skip(1);
        methods.extend(calls.map(|call| call.split('(').next().unwrap_or(call).to_uppercase()));
    }
    methods.sort();
    let names = ["BUF_RING_WITH_FLAGS", "ENABLE_RINGS", "PROBE", "RESTRICTIONS"];
    assert_eq!(methods, names, "SECURITY.md lists PBUF_RING and the other three");
    assert_eq!(documented.len(), by_hand.len() + names.len());
}

/// The flags of requests are bytes, of which the code names one.
#[test]
fn the_flags_are_those_of_the_code() {
    let bytes = REQUESTS.lines().filter_map(|line| line.trim().strip_prefix("pub const "));
    let flags: Vec<_> = bytes.filter(|line| line.contains(": u8 = 1 << ")).collect();
    assert_eq!(flags, ["BUFFER_SELECT: u8 = 1 << 5;"]);
    assert!(DOCUMENT.contains("| `IOSQE_BUFFER_SELECT` |"));
}
