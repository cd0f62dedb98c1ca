#include <nftables/libnftables.h>

#include <memory>

#include "broker/netfilter/table.h"

namespace jitwg::netfilter {
namespace {

// What the commands print.
Result<std::string> run(const std::string& commands) {
  struct Deleter {
    void operator()(nft_ctx* context) const { nft_ctx_free(context); }
  };
  const std::unique_ptr<nft_ctx, Deleter> context(nft_ctx_new(NFT_CTX_DEFAULT));
  if (!context) return fail(Code::system, "libnftables does not start");
  // Buffered, or libnftables writes to our stdout and stderr.
  nft_ctx_buffer_output(context.get());
  nft_ctx_buffer_error(context.get());
  // Protocols by number: their names are in /etc/protocols, which a small Debian does not have.
  nft_ctx_output_set_flags(context.get(), NFT_CTX_OUTPUT_HANDLE | NFT_CTX_OUTPUT_STATELESS |
                                              NFT_CTX_OUTPUT_TERSE | NFT_CTX_OUTPUT_NUMERIC_PROTO);
  if (nft_run_cmd_from_buffer(context.get(), commands.c_str()) == 0)
    return std::string(nft_ctx_get_output_buffer(context.get()));
  return fail(
      Code::system,
      std::string("nftables refused the ruleset: ") + nft_ctx_get_error_buffer(context.get()),
      "run with CAP_NET_ADMIN; `nft list ruleset` shows what is there");
}

}  // namespace

Result<void> load_ruleset(const std::string& text) {
  JITWG_TRY(run(text));
  return {};
}

Result<std::string> list_chains(const std::string& table) {
  return run("list table inet " + table);
}

Result<std::string> list_ruleset() { return run("list ruleset"); }

}  // namespace jitwg::netfilter
