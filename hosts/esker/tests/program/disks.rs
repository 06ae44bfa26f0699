//! Disks as devices, through the program.

use super::loops::Loop;
use super::{Place, numbered, skipped};

fn with_disk(test: &str, sector: u32, run: impl FnOnce(&Place, &str)) {
    let place = Place::new();
    place.write("image", vec![0; 16 << 20]);
    match Loop::new(&place.path("image"), sector) {
        Ok(disk) => run(&place, disk.name()),
        Err(why) => skipped(test, &why),
    }
}

#[test]
fn a_disk_is_a_device_like_a_file() {
    for sector in [512, 4096] {
        with_disk("a_disk_is_a_device_like_a_file", sector, |place, disk| {
            let text = numbered(5000);
            place.write("in", &text);
            place.ok(&format!("wal create {disk}"));
            place.ok(&format!("wal append {disk} in"));
            place.ok(&format!("wal append {disk} in"));
            assert!(place.ok(&format!("wal cat {disk}")) == [&text[..], &text].concat());
            assert!(place.ok(&format!("wal cat --from 5000 {disk}")) == text);
            place.ok(&format!("wal verify {disk}"));
            let info = place.ok(&format!("wal info --json {disk}"));
            let info: serde_json::Value = serde_json::from_slice(&info).unwrap();
            assert_eq!(info["volume"]["capacity"], 16 << 20);
            assert!(info["volume"]["write_unit"].as_u64().unwrap() >= sector.into());
            place.ok(&format!("wal salvage {disk} out --json"));
            assert!(place.ok("wal cat out") == [&text[..], &text].concat());
        });
    }
}

#[test]
fn what_a_disk_holds_is_not_formatted() {
    with_disk("what_a_disk_holds_is_not_formatted", 512, |place, disk| {
        place.write("in", "a\n");
        place.ok(&format!("wal create {disk} --size 8M"));
        place.ok(&format!("wal append {disk} in"));
        let image = place.bytes("image");
        place.refused(&format!("wal create {disk}"), &[disk, "it holds an esker volume", "--force"]);
        place.refused(&format!("wal salvage {disk} {disk}"), &["DEV itself"]);
        place.refused(&format!("wal append {disk} {disk}"), &["DEV itself"]);
        place.refused(&format!("wal create --force {disk} --size 1G"), &["16777216", "1073741824"]);
        place.refused(&format!("wal create --force {disk} --erase-unit 4K"), &["erase unit"]);
        assert!(place.bytes("image") == image);
        place.ok(&format!("wal create {disk} --force"));
        assert!(place.bytes("image") != image);
        let info = place.ok(&format!("wal info {disk}"));
        assert!(String::from_utf8(info).unwrap().contains("no logs"));
    });
}
