//! Java's calendar in UTC: Julian before 15 October 1582, Gregorian since, and lenient about months and days beyond their range.

/// 1582-10-15, the first Gregorian day, counted from 1970-01-01.
const CUTOVER_DAY: i64 = -141_427;

/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// A day by its parts. Years are astronomical: 0 is 1 BC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// 1 to 12.
    pub(crate) month: u32,
    /// 1 to 31.
    pub(crate) day: u32,
}

impl Civil {
    /// The day that lies so many days after 1970-01-01.
    pub(crate) fn of_day(day: i64) -> Self {
        if day >= CUTOVER_DAY { gregorian(day) } else { julian(day) }
    }

    /// From 1 on.
    pub(crate) fn day_of_year(self) -> i64 {
        day_of(self.year, i64::from(self.month) - 1, i64::from(self.day)) - day_of(self.year, 0, 1) + 1
    }
}

/// Days since 1970-01-01; `month` counts from 0, and it as well as `day` may lie out of range.
pub(crate) fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = (year + month.div_euclid(12), month.rem_euclid(12) + 1);
    let found = gregorian_first(year, month) + day - 1;
    if found >= CUTOVER_DAY { found } else { julian_first(year, month) + day - 1 }
}

/// 1 for Monday to 7 for Sunday.
pub(crate) fn weekday(day: i64) -> i64 {
    (day + 3).rem_euclid(7) + 1
}

// Howard Hinnant's algorithms: years begin in March, so that the leap day is a year's last.

fn gregorian_first(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_march_year(month) - 719_468
}

fn julian_first(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    year.div_euclid(4) * 1461 + year.rem_euclid(4) * 365 + day_of_march_year(month) - 719_470
}

fn day_of_march_year(month: i64) -> i64 {
    (153 * ((month + 9) % 12) + 2) / 5
}

fn gregorian(day: i64) -> Civil {
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    from_march_year(era * 400 + year, of_era - (365 * year + year / 4 - year / 100))
}

fn julian(day: i64) -> Civil {
    let day = day + 719_470;
    let (era, of_era) = (day.div_euclid(1461), day.rem_euclid(1461));
    let year = (of_era - of_era / 1460) / 365;
    from_march_year(era * 4 + year, of_era - 365 * year)
}

fn from_march_year(year: i64, day_of_year: i64) -> Civil {
    let march_month = (5 * day_of_year + 2) / 153;
    let month = (march_month + 2) % 12 + 1;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    Civil { year: if month <= 2 { year + 1 } else { year }, month: month as u32, day: day as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree_both_ways() {
        for day in (-1_000_000..3_000_000).step_by(17).chain(-141_500..-141_300) {
            let civil = Civil::of_day(day);
            assert_eq!(day_of(civil.year, i64::from(civil.month) - 1, i64::from(civil.day)), day, "{civil:?}");
        }
    }

    #[test]
    fn october_1582_lacks_ten_days() {
        assert_eq!(Civil::of_day(CUTOVER_DAY), Civil { year: 1582, month: 10, day: 15 });
        assert_eq!(Civil::of_day(CUTOVER_DAY - 1), Civil { year: 1582, month: 10, day: 4 });
        assert_eq!(Civil::of_day(-719_164), Civil { year: 1, month: 1, day: 1 });
    }

    #[test]
    fn months_and_days_roll_over() {
        assert_eq!(Civil::of_day(day_of(2024, 13, 30)), Civil { year: 2025, month: 3, day: 2 });
        assert_eq!(Civil::of_day(day_of(2024, -1, 0)), Civil { year: 2023, month: 11, day: 30 });
        assert_eq!((weekday(0), Civil::of_day(59).day_of_year()), (4, 60));
    }
}
