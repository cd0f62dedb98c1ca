#include <nftables/libnftables.h>

#include <memory>

#include "broker/netfilter/table.h"

namespace jitwg::netfilter {

Result<void> load_ruleset(const std::string& text) {
  struct Deleter {
    void operator()(nft_ctx* context) const { nft_ctx_free(context); }
  };
  const std::unique_ptr<nft_ctx, Deleter> context(nft_ctx_new(NFT_CTX_DEFAULT));
  if (!context) return fail(Code::system, "libnftables does not start");
  // Buffered, or libnftables writes to our stdout and stderr.
  nft_ctx_buffer_output(context.get());
  nft_ctx_buffer_error(context.get());
  if (nft_run_cmd_from_buffer(context.get(), text.c_str()) == 0) return {};
  return fail(
      Code::system,
      std::string("nftables refused the ruleset: ") + nft_ctx_get_error_buffer(context.get()),
      "run with CAP_NET_ADMIN; `nft list ruleset` shows what is there");
}

}  // namespace jitwg::netfilter
