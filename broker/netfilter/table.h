// One nftables table of family inet that is ours alone: its chains and sets come from a readable
// text, its elements through one long-lived netlink socket, in process. Needs CAP_NET_ADMIN.
// Blocking, but only for the kernel's own answer. Not thread-safe: one owner, the event loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "broker/base/error.h"
#include "broker/netfilter/element.h"

struct mnl_socket;
struct nlmsghdr;

namespace jitwg::netfilter {

// Loads nft(8) text through libnftables: one transaction, all or nothing. `io` carries nft's own
// words. Written with `add` and `flush chain`, a text may be loaded again and again: sets keep
// their elements, and no packet sees a gap.
Result<void> load_ruleset(const std::string& text);

class Table {
 public:
  static Result<Table> open(std::string name);
  Table(Table&&) noexcept;
  Table& operator=(Table&&) noexcept;
  ~Table();

  // Removals, then additions, in one transaction: either all of it holds afterwards, or nothing
  // changed. wrong_state: the table is not as assumed (an element expired meanwhile, or is there
  // already): list and try again. system: any other refusal of the kernel.
  Result<void> change(const std::vector<Element>& removals, const std::vector<Element>& additions);

  // What the kernel holds and has not expired. wrong_state: no such table or set.
  Result<std::vector<Element>> list(const std::string& set);

  // Tells this state of the table's chains and rules from any other: whatever rule or chain is put
  // in, replaced or taken out changes it; counters and elements do not. wrong_state: no such table,
  // or a dormant one.
  Result<std::string> fingerprint();

  // The sender of this object's changes, as others are told of them (nlmsg_pid).
  uint32_t port() const;

 private:
  Table(std::string name, mnl_socket* socket);
  struct Closer {
    void operator()(mnl_socket* socket) const;
  };
  Result<void> send(const std::string& bytes);
  // Sends a request for a dump and hands over each message of the answer.
  Result<void> dump(const std::string& request, uint32_t sequence, const std::string& what,
                    bool& interrupted, const std::function<Result<void>(const nlmsghdr*)>& take);
  Result<std::vector<Element>> list_once(const std::string& set, bool& interrupted);
  Result<std::string> fingerprint_once(bool& interrupted);

  std::string name_;
  std::unique_ptr<mnl_socket, Closer> socket_;
  uint32_t sequence_ = 1;
};

}  // namespace jitwg::netfilter
