"""The messages of §4 and the bodies of §4.2: field tables, and a codec that works from them.

A field is `name:kind`, its tag its place in the row, counted from 1. Kinds: `u8`..`u64` and `i16`, `i32` are integers, `b32` is 32 bytes,
`bytes64` is at most 64 bytes, `nodes384` at most 384 bytes in whole nodes of 32. A `?` marks an optional field.
"""

from .frame import FIELD_LENGTH, MISSING_FIELD, UNKNOWN_FIELD, UNKNOWN_TYPE, Refused, decode_tlv, encode_frame, encode_tlv

SEALED = "sid:b16 suite:u8 body:bytes64 tag:b32"
TABLE = {
    0x01: ("HELLO", "versions:bytes8 device_id:b32 features:u32 max_payload:u16 policy_version:u32 epoch:u32 resume_token:b16?"),
    0x02: ("HELLO_ACK", "version:u8 features:u32 max_payload:u16 heartbeat_interval_ms:u32 group:u32 index:u8 time_ms:u64"
           " resumed:u8 resume_token:b16"),
    0x03: ("EPOCH", "group:u32 epoch:u32 challenge:b32 policy_hash:b32 signature:b64"),
    0x04: ("HEARTBEAT", "counter:u32 time_ms:u64"),
    0x05: ("NACK", "frame_type:u8 code:u16 field:u8? limit:u32? retry_ms:u32?"),
    0x06: ("DRAIN", "reconnect_after_ms:u32 window_ms:u32"),
    0x07: ("ACK", "frame_type:u8 level:u8 sid:b16? epoch:u32? n:u8?"),
    0x10: ("CHALLENGE_REQ", "device_id:b32 dev_eph:b33 signature:b64"),
    0x11: ("CHALLENGE", "circuit_version:u8 sid:b16 device_id:b32 group:u32 index:u8 nonce:b32 epoch:u32 epoch_challenge:b32"
           " policy_hash:b32 issued:u64 answer_by:u64 deadline:u64 gw_eph:b33 dev_eph:b33 h:b32 signature:b64"),
    0x12: ("AUTH_RESP", "sid:b16 n:u8 prev_head:b32 l:b32 signature:b64"),
    0x13: ("AUTH_GRANT", SEALED),
    0x14: ("AUTH_DENY", SEALED),
    0x15: ("AUTH_ACK", "sid:b16 a:b32"),
    0x16: ("AUTH_FINAL", "sid:b16 level:u8 transaction:b32 block:u64"),
    0x17: ("AUTH_REVOKE", "sid:b16 cause:u8 grace_wh:u32"),
    0x18: ("SEALED", "sid:b16 suite:u8 body:bytes486"),
    0x20: ("CREDIT_UPDATE", SEALED),
    0x21: ("CHARGE_STATUS", "sid:b16 wh:u32 minutes:u16"),
    0x22: ("CHARGE_END", "sid:b16 wh:u32 minutes:u16 cause:u8 meter:bytes4096? signature:b64"),
    0x30: ("BATT_TELEM", "battery:b32 segment:b16 seq:u32 time_ms:u64 voltage_mv:u32 current_ma:i32 soc_centi_percent:u16"
           " temperature_centi_c:i16 energy_wh:u32 fp:b32"),
    0x31: ("TELEM_CHECKPOINT", "epoch:u32 n:u8 prev_head:b32 battery:b32 segment:b16 seq:u32 time_ms:u64 fp:b32 prev_seq:u32"
           " prev_fp:b32 signature:b64"),
    0x32: ("TELEM_ACK", "battery:b32 seq:u32 level:u8 checkpoint:u8"),
    0x33: ("TELEM_HEAD", "battery:b32 seq:u32? fp:b32? ledger_seq:u32? ledger_fp:b32?"),
    0x40: ("BATCH_ROOT", "group:u32 epoch:u32 root:b32 leaf:u16 path:nodes384 n:u8 head:b32"),
    0x41: ("BATCH_SIG", "group:u32 epoch:u32 root:b32 signature:b48"),
    0x42: ("LEAF_REQ", "group:u32 epoch:u32"),
    0x50: ("SET_POLICY", "version:u32 first_epoch:u32 total_len:u16 offset:u16 chunk:bytes493 signature:b64"),
    0x51: ("POLICY_ACK", "epoch:u32 n:u8 prev_head:b32 version:u32 policy_hash:b32 first_epoch:u32 signature:b64"),
    0x52: ("TRUST_UPDATE", "version:u32 kind:u8 value:bytes64 signature:b64"),
    0x60: ("FAULT_CLAIM", "ticket_hash:b32 kind:u8 body:bytes1024"),
    0x70: ("OTA_OFFER", "version:u32 size:u32 sha256:b32 signature:b64"),
    0x71: ("OTA_REQ", "version:u32 offset:u32 length:u16"),
    0x72: ("OTA_CHUNK", "version:u32 offset:u32 data:bytes448"),
    0x73: ("OTA_STATUS", "version:u32 state:u8 code:u8"),
}
TYPES = {name: frame_type for frame_type, (name, _) in TABLE.items()}
BODIES = {"AUTH_GRANT": "wh:u32 minutes:u16", "AUTH_DENY": "reason:u8", "CREDIT_UPDATE": "seq:u32 wh:u32 minutes:u16"}


def encode(name, **values):
    """The frame of message `name`. Integers and byte strings by field name; absent optional fields are left out."""
    return encode_frame(TYPES[name], encode_payload(name, values))


def encode_payload(name, values):
    fields = parse_row(TABLE[TYPES[name]][1])
    unknown = values.keys() - {field for _, field, _, _ in fields}
    assert not unknown, f"{name} has no field {unknown}"
    present = [(tag, field, kind) for tag, field, kind, optional in fields if not optional or values.get(field) is not None]
    return encode_tlv([(tag, to_bytes(kind, values[field])) for tag, field, kind in present])


def decode(frame_type, payload):
    """(name, {field: value}); raises Refused."""
    if frame_type not in TABLE:
        raise Refused(UNKNOWN_TYPE, frame_type)
    name, row = TABLE[frame_type]
    return name, decode_fields(row, payload, frame_type)


def decode_body(name, body):
    """The fields inside a suite 0 `body` of message `name`; raises Refused."""
    return decode_fields(BODIES[name], body, TYPES[name])


def decode_fields(row, payload, frame_type):
    found = dict(decode_tlv(payload, frame_type))
    known = {tag: cell for tag, *cell in parse_row(row)}
    values = {}
    for tag in sorted(found.keys() | known.keys()):
        field, kind, optional = known.get(tag, (None, None, None))
        if field is None:
            if tag % 2 == 0:
                raise Refused(UNKNOWN_FIELD, frame_type, field=tag)
        elif tag in found:
            values[field] = from_bytes(kind, found[tag], frame_type, tag)
        elif not optional:
            raise Refused(MISSING_FIELD, frame_type, field=tag)
    return values


def parse_row(row):
    """[(tag, name, kind, optional)] of a table row."""
    cells = [cell.rstrip("?").split(":") + [cell.endswith("?")] for cell in row.split()]
    return [(tag, *cell) for tag, cell in enumerate(cells, start=1)]


def to_bytes(kind, value):
    if kind[0] in "ui":
        return value.to_bytes(int(kind[1:]) // 8, "big", signed=kind[0] == "i")
    return bytes(value)


def from_bytes(kind, data, frame_type, tag):
    letters = kind.rstrip("0123456789")
    size = int(kind[len(letters) :])
    if letters in ("u", "i"):
        size //= 8
    fixed = letters in ("u", "i", "b")
    if len(data) > size or (fixed and len(data) < size) or (letters == "nodes" and len(data) % 32):
        raise Refused(FIELD_LENGTH, frame_type, field=tag, limit=size)
    return int.from_bytes(data, "big", signed=letters == "i") if letters in ("u", "i") else data
