//! Connect's internal topics: configurations, offsets and statuses.
