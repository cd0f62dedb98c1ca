// lock, unlock and locks.
#include "broker/base/encoding.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/identity.h"
#include "broker/cli/login.h"
#include "broker/cli/subject.h"
#include "broker/cli/text.h"

namespace jitwg::cli {

Result<int> run_lock(Context& context) {
  JITWG_ASSIGN(const std::string reason, context.need("reason"));
  const Api api(context.broker());
  JITWG_ASSIGN(const Subject what, read_subject(context, api, Subject::Kind::person));
  JITWG_ASSIGN(StatementHead head, make_head(context));
  std::string preview = context.has("save") ? "" : describe_affected(context, api, what);
  if (what.name == head.by && what.kind == Subject::Kind::person)
    preview += "this locks yourself: somebody else must unlock you\n";
  const LockStatement lock{std::move(head), what, reason};
  JITWG_ASSIGN(const json::value answer,
               sign_and_send(context, api, lock, preview, "Lock " + what.str() + "?"));
  if (!answer.is_null())
    context.print(answer, "locked " + escape_for_terminal(what.str()) + describe_ended(answer) + "\n");
  return 0;
}

Result<int> run_unlock(Context& context) {
  JITWG_ASSIGN(const std::string reason, context.need("reason"));
  const Api api(context.broker());
  JITWG_ASSIGN(const Subject what, read_subject(context, api, Subject::Kind::person));
  JITWG_ASSIGN(StatementHead head, make_head(context));
  const UnlockStatement unlock{std::move(head), what, reason};
  JITWG_ASSIGN(const json::value answer,
               sign_and_send(context, api, unlock, "", "Unlock " + what.str() + "?"));
  if (!answer.is_null()) context.print(answer, "unlocked " + escape_for_terminal(what.str()) + "\n");
  return 0;
}

Result<int> run_locks(Context& context) {
  const Api api(context.broker());
  JITWG_ASSIGN(const json::value answer, get_as_person(context, api, "/v1/locks"));
  if (!answer.is_array()) return fail(Code::corrupt, "the broker's list of locks cannot be read");
  std::vector<std::vector<std::string>> rows = {{"LOCKED", "BY", "SINCE", "REASON"}};
  std::string warnings;
  for (const json::value& one : answer.get_array()) {
    JsonObject object(one, "lock");
    const std::string what = object.string("kind") + " " + object.string("name");
    const auto at = parse_time(object.string("at"));
    if (!object.ok() || !at) return fail(Code::corrupt, "the broker's list of locks cannot be read");
    rows.push_back({what, object.string("by"), local_time(*at), shorten(object.string("reason"), 60)});
    if (const json::value* refusal = object.optional_value("signer_refusal");
        refusal != nullptr && refusal->is_object())
      warnings += escape_for_terminal("the signer refused the lock of " + what + ": " + render_json(*refusal)) + "\n";
  }
  context.print(answer, rows.size() == 1 ? "nothing is locked\n" : render_table(rows) + warnings);
  return 0;
}

}  // namespace jitwg::cli
