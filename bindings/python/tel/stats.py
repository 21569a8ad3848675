"""The producer's counters as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stats:
    """A snapshot of every counter of a producer. Names, order and meaning are those of `tel_stats` in tel.h."""

    # Counters, in lines.
    submitted: int
    recovered: int
    delivered: int
    failed: int
    dropped_full: int
    dropped_too_long: int
    dropped_rate: int
    dropped_spool: int
    sampled_out: int
    unknown_client: int
    malformed: int
    # Gauges, in lines.
    spooled: int
    in_flight: int
    # Not terms of the identity.
    sanitized: int
    bytes_submitted: int
    bytes_delivered: int
    oldest_undelivered_ms: int
    last_delivery_unix_ms: int
    clients: int
    clients_rejected: int
    clients_revision: int

    @property
    def accounted(self) -> int:
        """The lines whose fate or place is known."""
        return (
            self.delivered
            + self.failed
            + self.dropped_full
            + self.dropped_too_long
            + self.dropped_rate
            + self.dropped_spool
            + self.sampled_out
            + self.unknown_client
            + self.malformed
            + self.spooled
            + self.in_flight
        )

    @property
    def residual(self) -> int:
        """Lines taken in and not accounted for: 0 after a flush or close, never negative while lines move."""
        return self.submitted + self.recovered - self.accounted
