// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.24;

import { IGatewayRegistry } from "../src/interfaces/IGatewayRegistry.sol";
import { SystemTest } from "./SystemTest.sol";
import { IAccessManaged } from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";

contract GatewayRegistryTest is SystemTest {
    address private immutable GATEWAY = makeAddr("gateway");

    function groups(uint32 a, uint32 b) private pure returns (uint32[] memory list) {
        list = new uint32[](2);
        (list[0], list[1]) = (a, b);
    }

    function registered() private {
        vm.deal(GATEWAY, 10 ether);
        vm.prank(GATEWAY);
        gateways.register{ value: 1 ether }(GATEWAY, groups(1, 2));
    }

    function test_a_gateway_registers_itself_with_its_bond() public {
        vm.deal(GATEWAY, 10 ether);
        vm.expectEmit(address(gateways));
        emit IGatewayRegistry.GatewayRegistered(GATEWAY, 1 ether);
        vm.expectEmit(address(gateways));
        emit IGatewayRegistry.GroupsServed(GATEWAY, groups(1, 2));
        vm.prank(GATEWAY);
        gateways.register{ value: 1 ether }(GATEWAY, groups(1, 2));
        assertTrue(gateways.serves(GATEWAY, 2));
        assertFalse(gateways.serves(GATEWAY, 3));
        (address owner, uint256 bond, uint64 availableAt) = gateways.gateway(GATEWAY);
        assertEq(owner, GATEWAY);
        assertEq(bond, 1 ether);
        assertEq(availableAt, 0);
    }

    function test_registering_again_adds_to_the_bond_and_replaces_the_groups() public {
        registered();
        vm.prank(GATEWAY);
        gateways.register{ value: 2 ether }(GATEWAY, groups(3, 4));
        (, uint256 bond,) = gateways.gateway(GATEWAY);
        assertEq(bond, 3 ether);
        assertFalse(gateways.serves(GATEWAY, 1));
        assertEq(gateways.groupsOf(GATEWAY).length, 2);
    }

    function test_a_stranger_cannot_take_a_gateways_entry_but_an_operator_can_make_it() public {
        vm.deal(STRANGER, 1 ether);
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, STRANGER));
        vm.prank(STRANGER);
        gateways.register{ value: 1 ether }(GATEWAY, groups(1, 2));
        vm.deal(OPERATOR, 1 ether);
        vm.prank(OPERATOR);
        gateways.register{ value: 1 ether }(GATEWAY, groups(1, 2));
        vm.expectRevert(abi.encodeWithSelector(IGatewayRegistry.NotGatewayOwner.selector, GATEWAY, OPERATOR));
        vm.prank(GATEWAY);
        gateways.requestWithdrawal(GATEWAY);
    }

    function test_registrations_that_make_no_sense_are_refused() public {
        vm.deal(GATEWAY, 10 ether);
        vm.startPrank(GATEWAY);
        vm.expectRevert(abi.encodeWithSelector(IGatewayRegistry.ZeroGateway.selector));
        gateways.register{ value: 1 ether }(address(0), groups(1, 2));
        vm.expectRevert(abi.encodeWithSelector(IGatewayRegistry.NoGroups.selector));
        gateways.register{ value: 1 ether }(GATEWAY, new uint32[](0));
        vm.expectRevert(abi.encodeWithSelector(IGatewayRegistry.TooManyGroups.selector, 65, 64));
        gateways.register{ value: 1 ether }(GATEWAY, new uint32[](65));
        vm.expectRevert(abi.encodeWithSelector(IGatewayRegistry.BondTooSmall.selector, 1, 1 ether));
        gateways.register{ value: 1 }(GATEWAY, groups(1, 2));
        vm.expectRevert(abi.encodeWithSelector(IGatewayRegistry.UnknownGateway.selector, GATEWAY));
        gateways.requestWithdrawal(GATEWAY);
    }

    function test_the_bond_comes_back_after_the_delay_and_not_before() public {
        registered();
        vm.startPrank(GATEWAY);
        vm.expectRevert(abi.encodeWithSelector(IGatewayRegistry.WithdrawalNotRequested.selector, GATEWAY));
        gateways.withdraw(GATEWAY, payable(STRANGER));
        gateways.requestWithdrawal(GATEWAY);
        assertFalse(gateways.serves(GATEWAY, 1), "serves nobody from now on");
        uint64 availableAt = uint64(block.timestamp + 1 days);
        vm.expectRevert(abi.encodeWithSelector(IGatewayRegistry.WithdrawalPending.selector, GATEWAY, availableAt));
        gateways.register(GATEWAY, groups(1, 2));
        vm.expectRevert(abi.encodeWithSelector(IGatewayRegistry.WithdrawalPending.selector, GATEWAY, availableAt));
        gateways.requestWithdrawal(GATEWAY);
        vm.warp(availableAt - 1);
        vm.expectRevert(
            abi.encodeWithSelector(IGatewayRegistry.WithdrawalTooEarly.selector, availableAt, availableAt - 1)
        );
        gateways.withdraw(GATEWAY, payable(STRANGER));
        vm.warp(availableAt);
        vm.expectRevert(abi.encodeWithSelector(IGatewayRegistry.TransferFailed.selector, address(this), 1 ether));
        gateways.withdraw(GATEWAY, payable(address(this)));
        gateways.withdraw(GATEWAY, payable(STRANGER));
        assertEq(STRANGER.balance, 1 ether);
        vm.expectRevert(abi.encodeWithSelector(IGatewayRegistry.UnknownGateway.selector, GATEWAY));
        gateways.withdraw(GATEWAY, payable(STRANGER));
    }
}
