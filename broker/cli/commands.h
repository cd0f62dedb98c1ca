// One function a subcommand, each in the file of its name.
#pragma once

#include "broker/base/error.h"

namespace jitwg::cli {

class Context;

Result<int> run_request(Context& context);
Result<int> run_pending(Context& context);
Result<int> run_show(Context& context);
Result<int> run_approve(Context& context);
Result<int> run_deny(Context& context);
Result<int> run_activate(Context& context);
Result<int> run_up(Context& context);
Result<int> run_down(Context& context);
Result<int> run_ssh(Context& context);
Result<int> run_names(Context& context);
Result<int> run_return(Context& context);
Result<int> run_revoke(Context& context);
Result<int> run_lock(Context& context);
Result<int> run_unlock(Context& context);
Result<int> run_locks(Context& context);
Result<int> run_incident_open(Context& context);
Result<int> run_incident_extend(Context& context);
Result<int> run_incident_close(Context& context);
Result<int> run_incident_review(Context& context);
Result<int> run_incident_list(Context& context);
Result<int> run_incident_show(Context& context);
Result<int> run_write_off(Context& context);
Result<int> run_export(Context& context);
Result<int> run_statement_show(Context& context);
Result<int> run_statement_verify(Context& context);
Result<int> run_ssh_command(Context& context);
Result<int> run_list(Context& context);
Result<int> run_policy_check(Context& context);
Result<int> run_policy_test(Context& context);
Result<int> run_policy_explain(Context& context);
Result<int> run_policy_diff(Context& context);
Result<int> run_doctor(Context& context);
Result<int> run_trust(Context& context);
Result<int> run_version(Context& context);
Result<int> run_help(Context& context);
Result<int> run_completion_bash(Context& context);

}  // namespace jitwg::cli
