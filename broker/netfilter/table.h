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
#include "broker/os/fd.h"

struct mnl_socket;
struct nlmsghdr;

namespace jitwg::netfilter {

// Loads nft(8) text through libnftables: one transaction, all or nothing. `io` carries nft's own
// words. Written with `add` and `flush chain`, a text may be loaded again and again: sets keep
// their elements, and no packet sees a gap.
Result<void> load_ruleset(const std::string& text);

// A table of family inet as nft(8) prints it, with handles, which the kernel never gives twice, and
// without counters and elements: another text says that somebody changed chains, rules or sets.
// Takes milliseconds.
Result<std::string> list_chains(const std::string& table);

// All of nftables likewise, everybody's tables.
Result<std::string> list_ruleset();

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

  // Which flowtable of anybody's takes packets from `interface`: "flowtable f of table inet t", or "".
  // One that cannot be read counts.
  Result<std::string> find_flowtable(const std::string& interface);

  // Readable: somebody changed nftables: `nft flush ruleset` of a firewall's reload, an
  // administrator, a mistake.
  int news() const { return news_.get(); }
  // Takes all the news there is, without waiting. True: somebody else than this object changed the
  // table, anybody a flowtable, or news was lost.
  bool take_news();

 private:
  static Result<Fd> subscribe();
  Table(std::string name, mnl_socket* socket);
  struct Closer {
    void operator()(mnl_socket* socket) const;
  };
  Result<void> send(const std::string& bytes);
  Result<std::vector<Element>> list_once(const std::string& set, bool& interrupted);
  Result<void> dump(const std::string& what, const std::string& request, uint32_t sequence, bool& interrupted,
                    const std::function<Result<void>(const nlmsghdr*)>& take);

  std::string name_;
  Fd news_;
  std::unique_ptr<mnl_socket, Closer> socket_;
  uint32_t sequence_ = 1;
  std::vector<char> buffer_;  // kept: the kernel clears 64 pages for each new one
};

}  // namespace jitwg::netfilter
