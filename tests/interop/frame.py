"""Frames (§2) and the TLV sequences they carry (§3), over plain byte strings."""

MAGIC, CODEC, VERSION, FLAGS = 0xC1, 0x02, 0x20, 0x00
HEADER_LEN, CRC_LEN = 7, 1

MALFORMED_HEADER, BAD_CRC, PAYLOAD_TOO_LONG, UNKNOWN_TYPE, MALFORMED_TLV = 1, 2, 3, 4, 5
UNKNOWN_FIELD, MISSING_FIELD, FIELD_LENGTH, FIELD_VALUE = 6, 7, 8, 9
UNKNOWN_DEVICE, STALE_POLICY, UNSUPPORTED, UNSUPPORTED_VERSION = 12, 17, 27, 28


class Refused(Exception):
    """Bytes that the receiver answers with NACK `code` (§8); `closes` when the stream is lost with them."""

    def __init__(self, code, frame_type=0, field=None, limit=None, closes=False):
        super().__init__(f"NACK code {code}, frame type {frame_type:#04x}, field {field}, limit {limit}")
        self.code, self.frame_type, self.field, self.limit, self.closes = code, frame_type, field, limit, closes


def encode_frame(frame_type, payload):
    body = bytes([MAGIC, CODEC, VERSION, FLAGS]) + len(payload).to_bytes(2, "big") + bytes([frame_type]) + payload
    return body + bytes([crc8(body)])


class FrameReader:
    """Cuts a byte stream into frames. `max_payload` is the limit this side stated, in bytes."""

    def __init__(self, max_payload):
        self.max_payload = max_payload
        self.buffer = b""

    def feed(self, data):
        self.buffer += data

    def next_frame(self):
        """(type, payload) of the first whole frame, None while it is incomplete; raises Refused."""
        if len(self.buffer) < HEADER_LEN:
            return None
        magic, codec, version, flags = self.buffer[:4]
        if (magic, codec) != (MAGIC, CODEC):
            raise Refused(MALFORMED_HEADER, closes=True)
        if version != VERSION:
            raise Refused(UNSUPPORTED_VERSION, closes=True)
        if flags != FLAGS:
            raise Refused(MALFORMED_HEADER, closes=True)
        length = int.from_bytes(self.buffer[4:6], "big")
        if length > self.max_payload:
            raise Refused(PAYLOAD_TOO_LONG, limit=self.max_payload, closes=True)
        end = HEADER_LEN + length
        if len(self.buffer) < end + CRC_LEN:
            return None
        if crc8(self.buffer[:end]) != self.buffer[end]:
            raise Refused(BAD_CRC, closes=True)
        frame_type, payload = self.buffer[6], self.buffer[HEADER_LEN:end]
        self.buffer = self.buffer[end + CRC_LEN :]
        return frame_type, payload


def encode_tlv(fields):
    """The sequence of `fields`, (tag, value bytes) pairs in the order given."""
    return b"".join(bytes([tag]) + len(value).to_bytes(2, "big") + value for tag, value in fields)


def decode_tlv(payload, frame_type=0):
    """The (tag, value bytes) pairs of a payload whose tags strictly increase; raises Refused."""
    fields, offset = [], 0
    while offset < len(payload):
        start = offset + 3
        end = start + int.from_bytes(payload[offset + 1 : start], "big")
        tag = payload[offset]
        if start > len(payload) or end > len(payload) or (fields and tag <= fields[-1][0]):
            raise Refused(MALFORMED_TLV, frame_type)
        fields.append((tag, payload[start:end]))
        offset = end
    return fields


def crc8(data):
    """CRC-8/I-432-1."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc ^ 0x55
