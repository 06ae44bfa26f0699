use esker_bench::kv::nor::{Options, Setting, run};
fn main() {
    let mut o = Options::default();
    o.stores = vec!["esker-lsm".into()];
    let mut args = std::env::args().skip(1);
    if let Some(lent) = args.next() {
        o.lent = lent.parse().unwrap();
    }
    if let Some(p) = args.next() {
        o.log_percent = p.parse().unwrap();
    }
    if let Some(p) = args.next() {
        o.block_size = Some(p.parse().unwrap());
    }
    if let Some(p) = args.next() {
        let i: usize = p.parse().unwrap();
        if i < 3 {
            o.settings = vec![o.settings[i]];
        }
    }
    if let Some(p) = args.next() {
        o.patterns =
            vec![<esker_bench::kv::nor::pattern::Pattern as clap::ValueEnum>::from_str(&p, true).unwrap()];
    }
    let _ = Setting { capacity: 0, pairs: 0, value_size: 0 };
    match run(&o) {
        Ok(r) => println!("{r}"),
        Err(e) => eprintln!("{e:?}"),
    }
}
