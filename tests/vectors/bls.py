"""The vectors of co-signing (docs/distilled-batches.md): BLS12-381 by py_ecc, and the tree by hand.

Keys are in G2, 192 bytes x.c0 ‖ x.c1 ‖ y.c0 ‖ y.c1, signatures in G1, 96 bytes x ‖ y; `_compressed` is ZCash's form.
"""

from hashlib import sha256

from primitives import Domain, digest_of, filler, keccak256, uint
from py_ecc.bls.hash_to_curve import hash_to_G1
from py_ecc.bls.point_compression import compress_G1, compress_G2
from py_ecc.optimized_bls12_381 import (
    FQ,
    FQ2,
    G1,
    G2,
    Z1,
    Z2,
    add,
    b,
    b2,
    curve_order,
    field_modulus,
    is_inf,
    is_on_curve,
    multiply,
    neg,
    normalize,
    pairing,
)

ROOT_DST = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"
POSSESSION_DST = b"BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"
RFC_DST = b"QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_"
# RFC 9380, appendix J.9.1: messages and P.x.
RFC_VECTORS = [
    (b"", "052926add2207b76ca4fa57a8734416c8dc95e24501772c814278700eed6d1e4e8cf62d9c09db0fac349612b759e79a1"),
    (b"abc", "03567bc5ef9c690c2ab2ecdf6a96ef1c139cc0b2f284dca0a9a7943388a49a3aee664ba5379a7655d3c68900be2f6903"),
    (b"abcdef0123456789", "11e0b079dea29a68f0383ee94fed1b940995272407e3bb916bbf268c263ddd57a6a27200a784cbc248e84f357ce82d98"),
    (b"q128_" + b"q" * 128, "15f68eaa693b95ccb85215dc65fa81038d69629f70aeee0d0f677cf22285e7bf58d7cb86eefe8f2e9bc3f8cb84fac488"),
    (b"a512_" + b"a" * 512, "082aabae8b7dedb0e78aeb619ad3bfd9277a2f77ba7fad20ef6aabdc6c31d19ba5a6d12283553294c1825c4b3ca2dcfe"),
]
# The doc's encodings of the tree.
LEAF, NODE, GROUP_LEAF, EMPTY = b"\0", b"\1", b"\2", bytes(32)
PLACES = 256


def vectors(scenario):
    """`scenario` is generate.py's: its device and epoch are those of the other files."""
    trees = [tree_vector(scenario, count) for count in (1, 2, 5, 16)]
    signed = Signed(scenario, trees[0]["root"])
    return {
        "hash_to_curve": hash_to_curve_vectors(),
        "domain": {
            "chain_id": scenario.verifier.chain_id,
            "verifying_contract": scenario.verifier.contract,
            "device_registry": scenario.devices.contract,
            "device_registry_separator": signed.possession_separator,
        },
        "root": signed.root,
        "signers": [signer.described() for signer in signed.signers],
        "aggregates": signed.aggregates(),
        "invalid_keys": invalid_keys(signed.signers[0]),
        "invalid_signatures": invalid_signatures(signed.signers[0]),
        "refused_signatures": signed.refused_signatures(),
        "refused_possessions": signed.refused_possessions(),
        "trees": trees,
        "rings": ring_vectors(scenario),
    }


# --- encodings


def g1_bytes(point):
    if is_inf(point):
        return bytes(96)
    x, y = normalize(point)
    return uint(x.n, 48) + uint(y.n, 48)


def g2_bytes(point):
    if is_inf(point):
        return bytes(192)
    x, y = normalize(point)
    return b"".join(uint(coefficient, 48) for coefficient in (*x.coeffs, *y.coeffs))


def g1_compressed(point):
    return uint(compress_G1(point), 48)


def g2_compressed(point):
    return b"".join(uint(half, 48) for half in compress_G2(point))


def hashed(message, dst):
    return hash_to_G1(message, dst, sha256)


def hash_to_curve_vectors():
    entries = []
    for message, x in RFC_VECTORS:
        point = g1_bytes(hashed(message, RFC_DST))
        assert point[:48].hex() == x, message
        entries.append({"message": message, "point": point})
    return {"dst": RFC_DST, "vectors": entries}


# --- what is signed


class Signer:
    def __init__(self, number):
        self.secret = int.from_bytes(filler(f"bls secret {number}", 48), "big") % curve_order
        self.device_id = filler(f"bls device {number}", 32)
        self.point = multiply(G2, self.secret)
        self.key = g2_bytes(self.point)

    def sign(self, message, dst):
        return multiply(hashed(message, dst), self.secret)

    def described(self):
        return {
            "secret": uint(self.secret, 32),
            "device_id": self.device_id,
            "key": self.key,
            "key_compressed": g2_compressed(self.point),
            "possession_struct_hash": self.possession_struct_hash,
            "possession_digest": self.possession_digest,
            "possession": g1_bytes(self.possession),
            "possession_compressed": g1_compressed(self.possession),
            "signature": g1_bytes(self.signature),
            "signature_compressed": g1_compressed(self.signature),
        }


class Signed:
    """Five piles that co-sign one root."""

    def __init__(self, scenario, root):
        self.scenario, self.devices = scenario, scenario.devices
        fields = {"epoch": scenario.epoch, "challenge": scenario.challenge, "policy_hash": scenario.policy_hash, "root": root}
        signable = scenario.verifier.encode("Root", list(fields.values()))
        self.message = digest_of(signable)
        self.root = {**fields, "struct_hash": signable.body, "digest": self.message}
        self.signers = [self.signer(number) for number in range(5)]

    def signer(self, number):
        signer = Signer(number)
        signable = self.devices.encode("BlsPossession", [signer.device_id, signer.key])
        self.possession_separator = signable.header
        signer.possession_struct_hash = signable.body
        signer.possession_digest = digest_of(signable)
        signer.possession = signer.sign(signer.possession_digest, POSSESSION_DST)
        signer.signature = signer.sign(self.message, ROOT_DST)
        return signer

    def aggregates(self):
        entries = []
        for numbers in ([0], [0, 1], [1, 3, 4], [0, 1, 2, 3, 4]):
            key, signature = Z2, Z1
            for number in numbers:
                key = add(key, self.signers[number].point)
                signature = add(signature, self.signers[number].signature)
            assert fits(key, signature, self.message, ROOT_DST)
            entries.append(
                {
                    "signers": numbers,
                    "key": g2_bytes(key),
                    "signature": g1_bytes(signature),
                    "signature_compressed": g1_compressed(signature),
                }
            )
        return entries

    def refused_signatures(self):
        """Well-formed signatures that fit neither the key nor the message beside them."""
        first, second, third = self.signers[:3]
        both = add(first.point, second.point)
        summed = add(first.signature, second.signature)
        other_root = self.scenario.verifier.encode("Root", [self.scenario.epoch, self.scenario.challenge, self.scenario.policy_hash, bytes(32)])
        cases = [
            ("of another root", first.point, first.sign(digest_of(other_root), ROOT_DST)),
            ("of another key", second.point, first.signature),
            ("under the tag of possessions", first.point, first.sign(self.message, POSSESSION_DST)),
            ("negated", first.point, neg(first.signature)),
            ("of the digest's first 31 bytes", first.point, first.sign(self.message[:31], ROOT_DST)),
            ("of one signer for two", both, first.signature),
            ("of two signers for one", first.point, summed),
            ("one signer counted twice", both, add(summed, second.signature)),
            ("one of two signers is another", both, add(first.signature, third.signature)),
            ("the generator", first.point, G1),
        ]
        # Not refused by the equation: the sum of all is nobody's. Only the rule against infinity keeps it out.
        cancelling = add(first.point, neg(first.point))
        assert is_inf(cancelling) and fits(cancelling, Z1, self.message, ROOT_DST)
        refused = []
        for why, key, signature in cases:
            assert not fits(key, signature, self.message, ROOT_DST), why
            refused.append(self.refused(why, key, signature))
        refused.append(self.refused("nobody's: keys that cancel, and infinity", cancelling, Z1))
        return refused

    def refused(self, why, key, signature):
        return {
            "why": why,
            "key": g2_bytes(key),
            "signature": g1_bytes(signature),
            "signature_compressed": g1_compressed(signature),
        }

    def refused_possessions(self):
        first, second = self.signers[:2]
        device_id, key = first.device_id, first.key

        def of(target, other_device=device_id, other_key=key):
            return digest_of(target.encode("BlsPossession", [other_device, other_key]))

        own = of(self.devices)
        other_chain = Domain(self.devices.chain_id + 1, self.devices.contract)
        # Its holder knows the secret of key + rogue, and not rogue's own.
        rogue = add(multiply(G2, second.secret), neg(first.point))
        rogue_key = g2_bytes(rogue)
        cases = [
            ("of another device", first, of(self.devices, other_device=second.device_id), POSSESSION_DST),
            ("of another key", first, of(self.devices, other_key=second.key), POSSESSION_DST),
            ("in another registry", first, of(Domain(self.devices.chain_id, self.scenario.verifier.contract)), POSSESSION_DST),
            ("on another chain", first, of(other_chain), POSSESSION_DST),
            ("under the tag of roots", first, own, ROOT_DST),
            ("by another secret", second, own, POSSESSION_DST),
        ]
        refused = [
            {"why": why, "device_id": device_id, "key": key, "possession": g1_bytes(signer.sign(message, dst))}
            for why, signer, message, dst in cases
        ]
        refused.append({"why": "infinity", "device_id": device_id, "key": key, "possession": bytes(96)})
        message = of(self.devices, other_device=second.device_id, other_key=rogue_key)
        assert fits(add(rogue, first.point), second.sign(self.message, ROOT_DST), self.message, ROOT_DST)
        refused.append(
            {
                "why": "rogue key: with the first signer's it adds up to one whose secret is known",
                "device_id": second.device_id,
                "key": rogue_key,
                "possession": g1_bytes(second.sign(message, POSSESSION_DST)),
            }
        )
        return refused


def fits(key, signature, message, dst):
    return pairing(G2, signature) == pairing(key, hashed(message, dst))


# --- encodings that are no key or no signature


def invalid_keys(signer):
    x, y = normalize(signer.point)
    words = [*x.coeffs, *y.coeffs]

    def replaced(at, value):
        return b"".join(uint(value if at == i else word, 48) for i, word in enumerate(words))

    other = outside_g2()
    compressed = g2_compressed(signer.point)
    cases = [
        ("infinity", bytes(192), b"\xc0" + bytes(95)),
        ("off the curve", replaced(3, (int(words[3]) + 1) % field_modulus), None),
        ("the other coordinate of y", replaced(2, field_modulus - int(words[2])), None),
        ("coordinates of the field's elements exchanged", b"".join(uint(words[i], 48) for i in (1, 0, 3, 2)), None),
        ("on the curve, outside the subgroup", g2_bytes(other), g2_compressed(other)),
        ("all ones", b"\xff" * 192, b"\xff" * 96),
        ("compressed without its flag", None, bytes([compressed[0] & 0x7F]) + compressed[1:]),
        ("compressed, infinity with a coordinate", None, bytes([compressed[0] | 0x40]) + compressed[1:]),
        ("compressed, infinity with a sign", None, b"\xe0" + bytes(95)),
        ("compressed, on no point", None, no_point_g2(compressed)),
    ]
    for at, name in enumerate(("x.c0", "x.c1", "y.c0", "y.c1")):
        cases.append((f"{name} is the field's modulus", replaced(at, field_modulus), None))
        # The same point modulo p, in so far as 381 bits hold it.
        cases.append((f"{name} plus the field's modulus", replaced(at, int(words[at]) + field_modulus), None))
        cases.append((f"{name} with a flag's bit", replaced(at, int(words[at]) | 1 << 383), None))
    cases.append(("compressed, x.c0 is the field's modulus", None, compressed[:48] + uint(field_modulus, 48)))
    cases.append(("compressed, x.c1 is the field's modulus", None, bytes([0x80 | uint(field_modulus, 48)[0]]) + uint(field_modulus, 48)[1:] + compressed[48:]))
    return [entry(why, "key", plain, short) for why, plain, short in cases]


def invalid_signatures(signer):
    point = signer.signature
    x, y = (int(coordinate.n) for coordinate in normalize(point))
    compressed = g1_compressed(point)
    other, order_3 = outside_g1(), (FQ(0), FQ(2), FQ(1))
    assert is_on_curve(order_3, b) and is_inf(multiply(order_3, 3))
    cases = [
        ("infinity", bytes(96), b"\xc0" + bytes(47)),
        ("off the curve", uint(x, 48) + uint((y + 1) % field_modulus, 48), None),
        ("coordinates exchanged", uint(y, 48) + uint(x, 48), None),
        ("on the curve, outside the subgroup", g1_bytes(other), g1_compressed(other)),
        ("on the curve, of order 3", g1_bytes(order_3), g1_compressed(order_3)),
        ("in the subgroup plus a point of order 3", g1_bytes(add(point, order_3)), g1_compressed(add(point, order_3))),
        ("x is the field's modulus, of order 3", uint(field_modulus, 48) + uint(2, 48), None),
        ("x is the field's modulus", uint(field_modulus, 48) + uint(y, 48), None),
        ("y is the field's modulus", uint(x, 48) + uint(field_modulus, 48), None),
        ("x plus the field's modulus", uint(x + field_modulus, 48) + uint(y, 48), None),
        ("y plus the field's modulus", uint(x, 48) + uint(y + field_modulus, 48), None),
        ("x with a flag's bit", uint(x | 1 << 383, 48) + uint(y, 48), None),
        ("y with a flag's bit", uint(x, 48) + uint(y | 1 << 383, 48), None),
        ("infinity with its flag", b"\x40" + bytes(95), None),
        ("all ones", b"\xff" * 96, b"\xff" * 48),
        ("compressed without its flag", None, bytes([compressed[0] & 0x7F]) + compressed[1:]),
        ("compressed, infinity with a coordinate", None, bytes([compressed[0] | 0x40]) + compressed[1:]),
        ("compressed, infinity with a sign", None, b"\xe0" + bytes(47)),
        ("compressed, on no point", None, no_point_g1()),
        ("compressed, x is the field's modulus", None, bytes([0x80 | uint(field_modulus, 48)[0]]) + uint(field_modulus, 48)[1:]),
    ]
    return [entry(why, "signature", plain, short) for why, plain, short in cases]


def entry(why, name, plain, short):
    """Which of the two forms the case is about; one has no counterpart in the other where only its encoding is wrong."""
    forms = {name: plain, f"{name}_compressed": short}
    return {"why": why} | {form: value for form, value in forms.items() if value is not None}


def outside_g1():
    x = FQ(1)
    while True:
        y = (x**3 + b) ** ((field_modulus + 1) // 4)
        point = (x, y, FQ(1))
        if y**2 == x**3 + b and not is_inf(multiply(point, curve_order)):
            return point
        x = x + FQ(1)


def outside_g2():
    """A point of the twist that no cofactor cleared."""
    x = FQ2([1, 0])
    while True:
        square = x**3 + b2
        # q = p^2 is 9 modulo 16.
        candidate = square ** ((field_modulus**2 + 7) // 16)
        for root in eighth_roots():
            y = candidate * root
            if y * y == square:
                point = (x, y, FQ2([1, 0]))
                assert is_on_curve(point, b2) and not is_inf(multiply(point, curve_order))
                return point
        x = x + FQ2([1, 0])


def eighth_roots():
    base = FQ2([1, 1]) ** ((field_modulus**2 - 1) // 8)
    return [base**k for k in range(8)]


def no_point_g1():
    x = 1
    while pow(x**3 + 4, (field_modulus - 1) // 2, field_modulus) == 1:
        x += 1
    return bytes([0x80]) + uint(x, 47)


def no_point_g2(compressed):
    for low in range(1, 100):
        x = FQ2([low, 0])
        square = x**3 + b2
        if square ** ((field_modulus**2 - 1) // 2) != FQ2.one():
            return bytes([0x80]) + bytes(47) + uint(low, 48)
    raise AssertionError(compressed)


# --- the tree


def leaf_of(group, index, n, head):
    return keccak256(LEAF, uint(group, 4), uint(index, 1), uint(n, 1), head)


def levels(row):
    """A row and the rows above it, up to the root."""
    rows = [row]
    while len(rows[-1]) > 1:
        below = rows[-1]
        rows.append([keccak256(NODE, below[i], below[i + 1]) for i in range(0, len(below), 2)])
    return rows


def siblings(rows, place):
    path = b""
    for row in rows[:-1]:
        path += row[place ^ 1]
        place >>= 1
    return path


def tree_vector(scenario, count):
    """A tree of `count` groups whose first is the scenario's, with that device's newest head in it; some of its leaves."""
    heads = {}
    for place in range(count):
        group = scenario.group + 3 * place
        indices = {0, (5 + 31 * place) % 224, 223}
        heads[group] = {index: (1 + (place + index) % 255, filler(f"head {group} {index}", 32)) for index in sorted(indices)}
    heads[scenario.group][scenario.index] = (scenario.digests["head"]["n"], scenario.digests["head"]["head"])
    inner = {}
    for group, known in heads.items():
        row = [leaf_of(group, index, *known[index]) if index in known else EMPTY for index in range(PLACES)]
        inner[group] = levels(row)
    groups = sorted(heads)
    top = [keccak256(GROUP_LEAF, uint(group, 4), inner[group][-1][0]) for group in groups]
    while len(top) & (len(top) - 1):
        top.append(EMPTY)
    outer = levels(top)
    leaves = [
        {
            "group": group,
            "index": index,
            "n": n,
            "head": head,
            "place": place << 8 | index,
            "leaf": inner[group][0][index],
            "path": siblings(inner[group], index) + siblings(outer, place),
        }
        for place, group in enumerate(groups)
        if place in (0, 1, 4, 15)
        for index, (n, head) in sorted(heads[group].items())
    ]
    return {
        "groups": [{"group": group, "group_root": inner[group][-1][0], "group_leaf": top[place]} for place, group in enumerate(groups)],
        "root": outer[-1][0],
        "leaves": leaves,
    }


def ring_vectors(scenario):
    """What roots leave at one place of the second ring, from an empty one on."""
    word, entries = bytes(32), []
    for number, signers in enumerate((1, (1 << 224) - 1, 1 << 223)):
        group_root = filler(f"group root {number}", 32)
        epoch = scenario.epoch + 64 * number
        hashed_entry = keccak256(uint(epoch, 4), group_root, uint(signers, 28))
        after = keccak256(word, hashed_entry)
        entries.append({"before": word, "epoch": epoch, "group_root": group_root, "signers": uint(signers, 28), "entry": hashed_entry, "after": after})
        word = after
    return entries
