// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

/// @title The canonical tariff bytes of docs/protocol.md §10
/// @notice Piles refuse any other byte string, so one in force would stop them all: it is refused here first.
library Tariff {
    /// @notice The byte at `offset` (or the field that begins there) breaks the encoding.
    error MalformedTariff(uint256 offset);

    uint256 private constant HEADER_BYTES = 13;
    uint256 private constant PERIOD_BYTES = 10;
    uint256 private constant PERIODS_MAX = 48;
    uint256 private constant MINUTES_A_DAY = 1440;

    /// @notice Reverts unless the bytes are a canonical tariff.
    function check(bytes calldata tariff) internal pure {
        if (tariff.length < HEADER_BYTES + PERIOD_BYTES) revert MalformedTariff(tariff.length);
        if (tariff[0] != 0x01) revert MalformedTariff(0);
        for (uint256 i = 1; i <= 3; ++i) {
            if (tariff[i] < "A" || tariff[i] > "Z") revert MalformedTariff(i);
        }
        int16 zone = int16(uint16(bytes2(tariff[4:6])));
        if (zone < -720 || zone > 840) revert MalformedTariff(4);
        if (bytes4(tariff[6:10]) == 0) revert MalformedTariff(6);
        if (bytes2(tariff[10:12]) == 0) revert MalformedTariff(10);
        uint256 periods = uint8(tariff[12]);
        if (periods == 0 || periods > PERIODS_MAX) revert MalformedTariff(12);
        if (tariff.length != HEADER_BYTES + periods * PERIOD_BYTES) revert MalformedTariff(tariff.length);
        uint256 earliest;
        for (uint256 i; i < periods; ++i) {
            uint256 start = HEADER_BYTES + i * PERIOD_BYTES;
            uint256 minute = uint16(bytes2(tariff[start:start + 2]));
            if (minute < earliest || minute >= MINUTES_A_DAY || (i == 0 && minute != 0)) revert MalformedTariff(start);
            earliest = minute + 1;
        }
    }
}
