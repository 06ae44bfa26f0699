//! What the logger says, as far as the harness acts on it. The texts are those of `hosts/qemu/src/logger`
//! and `settings`.

/// A message of a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// What is there after opening: entries `start..end`.
    There { log: u16, start: u64, end: u64 },
    /// A start was given its number; until the next such message, entries are of it.
    Started { boot: u32 },
    /// Entries before `end` are durable.
    Durable { log: u16, end: u64 },
    /// Entries before this one may be gone from now on.
    Released { log: u16, before: u64 },
    /// So many settings are there after opening.
    SettingsThere { pairs: u64 },
    /// From now on settings are changed, step by step, as of this start.
    SettingsStarted { boot: u32 },
    /// What the steps before this one have changed is durable.
    SettingsDurable { step: u32 },
    /// The end of a run in which all went well.
    Done,
    /// The run did not go well, for this reason.
    Failed(String),
    /// Bytes of RAM that were ever in use.
    Memory { fixed: u64, stack: u64 },
    /// Anything else.
    Other,
}

impl Message {
    pub fn parse(text: &str) -> Self {
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |text: &str| text.parse::<u64>().ok();
        let log = |text: &str| text.parse::<u16>().ok();
        let parsed = match words.as_slice() {
            ["log", id, "holds", start, "to", end] => {
                (|| Some(Self::There { log: log(id)?, start: number(start)?, end: number(end)? }))()
            }
            ["start", boot] => boot.parse().ok().map(|boot| Self::Started { boot }),
            ["log", id, "durable", "to", end] => {
                (|| Some(Self::Durable { log: log(id)?, end: number(end)? }))()
            }
            ["log", id, "released", "before", before] => {
                (|| Some(Self::Released { log: log(id)?, before: number(before)? }))()
            }
            ["settings", "hold", pairs, "pairs"] => number(pairs).map(|pairs| Self::SettingsThere { pairs }),
            ["settings", "start", boot] => boot.parse().ok().map(|boot| Self::SettingsStarted { boot }),
            ["settings", "durable", "to", "step", step] => {
                step.parse().ok().map(|step| Self::SettingsDurable { step })
            }
            ["memory", fixed, "and", "stack", stack] => {
                (|| Some(Self::Memory { fixed: number(fixed)?, stack: number(stack)? }))()
            }
            ["done"] => Some(Self::Done),
            ["failed:", ..] => Some(Self::Failed(text.to_owned())),
            _ => None,
        };
        parsed.unwrap_or(Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        assert_eq!(Message::parse("log 1 holds 2 to 30"), Message::There { log: 1, start: 2, end: 30 });
        assert_eq!(Message::parse("start 7"), Message::Started { boot: 7 });
        let durable = Message::Durable { log: 0, end: 8 };
        assert_eq!(Message::parse("log 0 durable to 8"), durable);
        assert_eq!(Message::parse("log 0 released before 5"), Message::Released { log: 0, before: 5 });
        assert_eq!(Message::parse("settings hold 12 pairs"), Message::SettingsThere { pairs: 12 });
        assert_eq!(Message::parse("settings start 3"), Message::SettingsStarted { boot: 3 });
        assert_eq!(Message::parse("settings durable to step 4"), Message::SettingsDurable { step: 4 });
        assert_eq!(Message::parse("done"), Message::Done);
        let memory = Message::Memory { fixed: 2048, stack: 4000 };
        assert_eq!(Message::parse("memory 2048 and stack 4000"), memory);
        assert_eq!(Message::parse("failed: full"), Message::Failed("failed: full".into()));
        for other in ["", "formatted", "log 0 durable to x", "done now"] {
            assert_eq!(Message::parse(other), Message::Other);
        }
    }
}
