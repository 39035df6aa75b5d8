"""A CIP-22 pile in Python, written from docs/protocol.md alone and sharing no code with the Rust crates.

Section numbers in this package are those of docs/protocol.md.
"""
