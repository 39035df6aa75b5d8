// The v2.4 addon funds accounts in core space alone: each sends most of what it has to its own address in eSpace.
import { createWalletClient, encodeFunctionData, http } from "cive";
import { privateKeyToAccount } from "cive/accounts";
import { hexAddressToBase32 } from "cive/utils";

const CROSS_SPACE_CALL = "0x0888000000000000000000000000000000000006";
const ABI = [
  {
    type: "function",
    name: "transferEVM",
    inputs: [{ name: "to", type: "bytes20" }],
    outputs: [{ name: "output", type: "bytes" }],
    stateMutability: "payable",
  },
];
const SHARE = 9_990n * 10n ** 18n; // of 10,000 CFX

/** `accounts`: [{address, key}]. Returns when the transactions are in the node's pool. */
export async function fund(nativeUrl, chainId, accounts) {
  const chain = {
    id: chainId,
    name: "devnet",
    nativeCurrency: { decimals: 18, name: "CFX", symbol: "CFX" },
    rpcUrls: { default: { http: [nativeUrl] } },
  };
  const to = hexAddressToBase32({ hexAddress: CROSS_SPACE_CALL, networkId: chainId });
  for (const { address, key } of accounts) {
    const account = privateKeyToAccount(key, { networkId: chainId });
    const wallet = createWalletClient({ chain, transport: http(nativeUrl), account });
    const data = encodeFunctionData({ abi: ABI, functionName: "transferEVM", args: [address] });
    await wallet.sendTransaction({ account, to, value: SHARE, data });
  }
}
