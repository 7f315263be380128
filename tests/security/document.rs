//! SECURITY.md says what the code does: its tables hold every operation, registration and flag.

use std::collections::BTreeMap;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the table whose first column is headed by `head`: name and number.
fn table(head: &str) -> BTreeMap<String, u8> {
    let document = read("SECURITY.md");
    let begins = |line: &&str| !line.starts_with(&format!("| {head} |"));
    let rows = document.lines().skip_while(begins).skip(2).take_while(|line| line.starts_with('|'));
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
    let code = read("runtime/src/sqe.rs");
    let (_, list) = code.split_once("    opcodes! {").expect("the one list");
    let (list, _) = list.split_once('}').expect("its end");
    let listed = constants(list, "", |_| true);
    assert!(listed.len() > 10, "{listed:?}");
    assert_eq!(table("`IORING_OP_`"), listed);
}

#[test]
fn the_registrations_are_those_of_the_code() {
    let documented = table("io_uring_register(2)");
    // Those that are made by hand. Sending a message is an operation without a ring.
    let by_hand = constants(&read("runtime/src/sys/linux.rs"), "const ", |name| {
        name.contains("REGISTER_") && !name.starts_with("ENTER_")
    });
    for (name, number) in &by_hand {
        let name = name.replace("UNREGISTER_", "UN\0").replace("REGISTER_", "");
        let name = name.replace("UN\0", "UNREGISTER_");
        assert_eq!(documented.get(&name), Some(number), "{name}");
    }
    // Those of the `io-uring` crate, by the names of its methods.
    let mut methods = Vec::new();
    for file in ["mod.rs", "setup.rs", "buffers.rs", "wake.rs"] {
        let code = read(&format!("runtime/src/driver/uring/{file}"));
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
    let code = read("runtime/src/sqe.rs");
    let bytes = code.lines().filter_map(|line| line.trim().strip_prefix("pub const "));
    let flags: Vec<_> = bytes.filter(|line| line.contains(": u8 = 1 << ")).collect();
    assert_eq!(flags, ["BUFFER_SELECT: u8 = 1 << 5;"]);
    assert!(read("SECURITY.md").contains("| `IOSQE_BUFFER_SELECT` |"));
}
