"""What all tests are run under."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A shared machine may hold any example up for a second: no test's outcome is a matter of time.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
