"""The tariff bytes of a policy (§10)."""

from dataclasses import dataclass

HEADER_LEN, PERIOD_LEN, MAX_PERIODS, MINUTES_PER_DAY = 13, 10, 48, 1440


@dataclass(frozen=True)
class Period:
    start_minute: int
    energy_price: int
    service_price: int


@dataclass(frozen=True)
class Tariff:
    """Prices in millionths of the currency unit per kWh."""

    currency: str
    utc_offset_minutes: int
    credit_wh: int
    credit_minutes: int
    periods: tuple


def parse(data):
    """The tariff that `data` encodes; raises ValueError when it is not the canonical encoding of one."""
    count = data[12] if len(data) >= HEADER_LEN else 0
    require(data[:1] == b"\x01", "format is not 1")
    require(1 <= count <= MAX_PERIODS and len(data) == HEADER_LEN + PERIOD_LEN * count, "length does not match the periods")
    currency = data[1:4].decode("latin-1")
    require(all("A" <= letter <= "Z" for letter in currency), "currency is not three upper-case letters")
    offset = int.from_bytes(data[4:6], "big", signed=True)
    require(-720 <= offset <= 840, "time zone outside -720..840 minutes")
    tariff = Tariff(currency, offset, number(data, 6, 4), number(data, 10, 2), tuple(periods(data, count)))
    require(tariff.credit_wh > 0 and tariff.credit_minutes > 0, "credit is 0")
    starts = [period.start_minute for period in tariff.periods]
    require(starts[0] == 0 and starts[-1] < MINUTES_PER_DAY, "periods do not cover one day")
    require(all(a < b for a, b in zip(starts, starts[1:])), "periods do not increase")
    return tariff


def periods(data, count):
    for at in range(HEADER_LEN, HEADER_LEN + PERIOD_LEN * count, PERIOD_LEN):
        yield Period(number(data, at, 2), number(data, at + 2, 4), number(data, at + 6, 4))


def number(data, at, size):
    return int.from_bytes(data[at : at + size], "big")


def require(condition, why):
    if not condition:
        raise ValueError(why)
