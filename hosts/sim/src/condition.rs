//! What is known of one write unit beside its bytes: may it be programmed, and how does it read.

/// Whether a write unit may be programmed. Only devices with an erase unit ask; blocks may always be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Programming {
    /// Holds data. On flash it must be erased first.
    Programmed = 0,
    /// Erased and not programmed since: the only condition in which flash may be programmed.
    Blank = 1,
    /// Touched by a program call that was cut or failed. It may read as blank, and must be erased first all the same.
    Burnt = 2,
    /// Its erase was cut or failed. It may read as blank, and must be erased again first.
    Unreliable = 3,
}

/// How a write unit reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reading {
    /// As it is.
    Good = 0,
    /// As garbage, differently at each read, until it is rewritten or erased.
    Unstable = 4,
    /// Not at all, until it is rewritten or erased.
    Unreadable = 8,
}

/// Both in one byte, because there is one for each write unit of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition(u8);

impl Condition {
    pub(crate) const PROGRAMMED: Self = Self::new(Programming::Programmed, Reading::Good);
    pub(crate) const BLANK: Self = Self::new(Programming::Blank, Reading::Good);
    pub(crate) const BURNT: Self = Self::new(Programming::Burnt, Reading::Good);

    pub(crate) const fn new(programming: Programming, reading: Reading) -> Self {
        Self(programming as u8 | reading as u8)
    }

    pub(crate) const fn from_code(code: u8) -> Self {
        Self(code)
    }

    pub(crate) const fn code(self) -> u8 {
        self.0
    }

    pub(crate) const fn programming(self) -> Programming {
        match self.0 & 3 {
            0 => Programming::Programmed,
            1 => Programming::Blank,
            2 => Programming::Burnt,
            _ => Programming::Unreliable,
        }
    }

    pub(crate) const fn reading(self) -> Reading {
        match self.0 & 12 {
            0 => Reading::Good,
            4 => Reading::Unstable,
            _ => Reading::Unreadable,
        }
    }
}

/// The least code of a unit that doesn't read well: lets a read check many units with one comparison each.
pub(crate) const LEAST_BAD_READING: u8 = Reading::Unstable as u8;
