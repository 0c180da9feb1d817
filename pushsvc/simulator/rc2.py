"""RC2-CBC encryption (RFC 2268): libraries dropped its 40-bit form, and old `.p12` files still have it."""

_PITABLE = bytes.fromhex(
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2"
    "179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82"
    "54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626"
    "6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7"
    "08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec"
    "c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731"
    "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9"
    "0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad"
)


def _expand(key: bytes, effective_bits: int) -> list[int]:
    size = (effective_bits + 7) // 8
    mask = 0xFF % (1 << (8 + effective_bits - 8 * size))
    table = bytearray(key)
    while len(table) < 128:
        table.append(_PITABLE[(table[-1] + table[-len(key)]) % 256])
    table[128 - size] = _PITABLE[table[128 - size] & (mask or 0xFF)]
    for i in range(127 - size, -1, -1):
        table[i] = _PITABLE[table[i + 1] ^ table[i + size]]
    return [table[2 * i] + 256 * table[2 * i + 1] for i in range(64)]


def _encrypt_block(schedule: list[int], block: bytes) -> bytes:
    r = [int.from_bytes(block[i : i + 2], "little") for i in range(0, 8, 2)]
    position = 0
    for rounds in (5, 6, 5):
        for _ in range(rounds):
            for i, shift in enumerate((1, 2, 3, 5)):
                mixed = r[i] + schedule[position] + (r[i - 1] & r[i - 2]) + (~r[i - 1] & r[i - 3]) & 0xFFFF
                r[i] = (mixed << shift | mixed >> (16 - shift)) & 0xFFFF
                position += 1
        if position < 64:
            for i in range(4):
                r[i] = (r[i] + schedule[r[i - 1] & 63]) & 0xFFFF
    return b"".join(word.to_bytes(2, "little") for word in r)


def rc2_cbc_encrypt(key: bytes, iv: bytes, clear: bytes, effective_bits: int) -> bytes:
    """Encrypts with PKCS#7 padding; `iv` is 8 bytes, `effective_bits` the T1 of RFC 2268 (40 for RC2-40)."""
    schedule = _expand(key, effective_bits)
    padding = 8 - len(clear) % 8
    clear += bytes([padding]) * padding
    previous, encrypted = iv, []
    for i in range(0, len(clear), 8):
        previous = _encrypt_block(schedule, bytes(a ^ b for a, b in zip(clear[i : i + 8], previous, strict=True)))
        encrypted.append(previous)
    return b"".join(encrypted)
