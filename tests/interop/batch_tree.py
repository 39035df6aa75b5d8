"""The tree of a batch (§5.5). This package holds no BLS key, so it follows paths and does not co-sign."""

from .digests import keccak

GROUP_LEVELS = 8
EMPTY = bytes(32)


def leaf(group, index, n, head):
    """What stands at the place of an index that signed something."""
    return keccak(b"\x00" + group.to_bytes(4, "big") + bytes([index, n]) + head)


def node(left, right):
    return keccak(b"\x01" + left + right)


def group_leaf(group, group_root):
    return keccak(b"\x02" + group.to_bytes(4, "big") + group_root)


def follow(group, place, n, head, path):
    """(group root, root) to which the siblings of `path` lead from the leaf up; None where `place` does not exist or the length is wrong."""
    siblings = [path[at : at + 32] for at in range(0, len(path), 32)]
    if len(path) % 32 or not GROUP_LEVELS <= len(siblings) <= GROUP_LEVELS + 4 or place >> len(siblings):
        return None
    at = leaf(group, place & 0xFF, n, head)
    for level, sibling in enumerate(siblings):
        if level == GROUP_LEVELS:
            at = group_leaf(group, group_root)
        at = node(sibling, at) if place >> level & 1 else node(at, sibling)
        if level == GROUP_LEVELS - 1:
            group_root = at
    return group_root, at if len(siblings) > GROUP_LEVELS else group_leaf(group, group_root)
