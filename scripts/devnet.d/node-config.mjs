// The Conflux node's configuration file for a development chain.
import path from "node:path";
import { fileURLToPath } from "node:url";

const POS_CONFIG = fileURLToPath(new URL("pos_config", import.meta.url));

export const CHAIN_ID = 1235;
export const CORE_CHAIN_ID = 1234;

// Hardforks that `default_transition_time` leaves at their mainnet heights; PUSH0 (cip119) is among them.
const HARDFORKS = [
  "default_transition_time",
  "hydra_transition_number",
  "hydra_transition_height",
  "dao_vote_transition_number",
  "dao_vote_transition_height",
  "sigma_fix_transition_number",
  "cip107_transition_number",
  "cip112_transition_height",
  "cip118_transition_number",
  "cip119_transition_number",
  "base_fee_burn_transition_number",
  "base_fee_burn_transition_height",
  "cip1559_transition_height",
  "c2_fix_transition_height",
  "eoa_code_transition_height",
];

/**
 * `ports`: {rpc, ws, native, p2p}. All paths are absolute: the node resolves relative ones elsewhere. `netKey` makes the node one that
 * others can name; with `bootnode` it joins that node's chain. Without `blockIntervalMs` it mines nothing.
 */
export function nodeConfig({ dir, ports, blockIntervalMs, netKey, bootnode }) {
  const settings = {
    mode: "dev",
    chain_id: CORE_CHAIN_ID,
    evm_chain_id: CHAIN_ID,
    conflux_data_dir: dir,
    block_db_dir: path.join(dir, "blockchain_db"),
    netconf_dir: path.join(dir, "net_config"),
    block_db_type: "rocksdb", // sqlite loses the chain on restart
    genesis_evm_secrets: path.join(dir, "genesis_evm_secrets.txt"),
    public_rpc_apis: "all",
    public_evm_rpc_apis: "all",
    jsonrpc_http_port: ports.native,
    jsonrpc_http_eth_port: ports.rpc,
    jsonrpc_ws_eth_port: ports.ws,
    tcp_port: ports.p2p,
    poll_lifetime_in_seconds: 60,
    executive_trace: true,
    min_eth_base_price: 20_000_000_000,
    tx_pool_min_eth_tx_gas_price: 20_000_000_000,
    pos_reference_enable_height: 0,
    dev_pos_private_key_encryption_password: "123456",
    pos_config_path: path.join(POS_CONFIG, "pos_config.yaml"),
    pos_initial_nodes_path: path.join(POS_CONFIG, "initial_nodes.json"),
    pos_private_key_path: path.join(dir, "pos_key"),
  };
  if (blockIntervalMs) settings.dev_block_interval_ms = blockIntervalMs;
  if (netKey) Object.assign(settings, { net_key: netKey, enable_discovery: false });
  else settings.udp_port = ports.p2p;
  if (bootnode) settings.bootnodes = bootnode;
  for (const fork of HARDFORKS) settings[fork] = 1;
  return Object.entries(settings)
    .map(([key, value]) => `${key}=${JSON.stringify(value)}\n`)
    .join("");
}

/** The v2.4 addon's, which takes an object instead of a file; `secrets` without 0x. */
export function olderNodeConfig({ dir, ports, blockIntervalMs, secrets }) {
  const settings = {
    nodeType: "full",
    chainId: CORE_CHAIN_ID,
    evmChainId: CHAIN_ID,
    devBlockIntervalMs: blockIntervalMs,
    genesisSecrets: secrets,
    confluxDataDir: dir,
    blockDbType: "rocksdb",
    publicRpcApis: "all",
    publicEvmRpcApis: "evm", // with "all" it serves the core space's instead
    jsonrpcHttpPort: ports.native,
    jsonrpcHttpEthPort: ports.rpc,
    jsonrpcWsEthPort: ports.ws,
    tcpPort: ports.p2p,
    udpPort: ports.p2p,
    pollLifetimeInSeconds: 60,
    posReferenceEnableHeight: 0,
    defaultTransitionTime: 1,
    cip1559TransitionHeight: 1,
    devPosPrivateKeyEncryptionPassword: "123456",
    posConfigPath: path.join(POS_CONFIG, "pos_config.yaml"),
    posInitialNodesPath: path.join(POS_CONFIG, "initial_nodes.json"),
    posPrivateKeyPath: path.join(dir, "pos_key"),
  };
  return `${JSON.stringify(settings, null, 2)}\n`;
}
