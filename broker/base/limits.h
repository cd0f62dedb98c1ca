// Every limit on what others may send or hold, with its reason.
#pragma once

#include <chrono>
#include <cstddef>

namespace jitwg::limits {

using namespace std::chrono_literals;

constexpr size_t kStatementBytes = 16 * 1024;    // a person reads what they sign
constexpr size_t kHttpBodyBytes = 64 * 1024;     // a statement, its signature, base64, and room
constexpr size_t kSignerFrameBytes = 8 << 20;    // policy and 10,000 people, base64
constexpr size_t kPolicyBytes = 2 << 20;         // policy, and allowed_signers: each
constexpr size_t kListBytes = 1 << 20;           // all lists of people that a policy takes from files, together
constexpr size_t kPolicyErrors = 20;             // reported at once: more are consequences
constexpr size_t kStreamLineBytes = 64 << 20;    // a node's snapshot: 20,000 sessions of about 3 KiB
constexpr size_t kReasonCharacters = 1000;       // a paragraph, not a file
constexpr size_t kNameBytes = 64;                // persons, targets, nodes: fits a unix login and a label
constexpr size_t kScopeEntries = 64;             // per target: an approver must be able to read it
constexpr size_t kHostNamesBytes = 4096;         // per target: about a hundred; shares a statement with the scope
constexpr size_t kIncidentTargets = 64;          // what an incident names; labels for more
constexpr size_t kOpenRequestsPerPerson = 20;    // a script gone wild stops here
constexpr size_t kActivationsPerHour = 60;       // per person: bounds what a stolen laptop can mint
constexpr size_t kStatementsPerHour = 600;        // per person, of any kind: a script gone wild fills no disk
constexpr size_t kDecisions = 16;                // N of N-of-M
constexpr auto kClockSkew = 5min;                // statements: laptops drift, NTP mends it
constexpr auto kNodeClockSkew = 30s;             // nodes are servers
constexpr auto kBackdate = 30s;                  // certificate start, for skewed sshd clocks
constexpr auto kMinDuration = 10s;
constexpr auto kLedgerBehind = 60s;              // the signer's clock against its newest record
constexpr auto kAddressRest = 1h;                // after the end, before an address is given again
constexpr auto kTombstone = 24h;                 // after not_after, a node remembers a closed session
constexpr auto kUnknownEnd = 7 * 24h;            // taken for the end of a session closed here without its grant
constexpr auto kLongestGrant = 10 * 365 * 24h;   // longer is no end at all
constexpr size_t kSessionsPerNode = 20'000;      // measured: what one gateway serves
constexpr auto kLoginReadFor = 10h;              // a `login` statement's longest reading
constexpr auto kConfirmWait = 10s;               // activation waits this long for gateway and jump host
constexpr auto kHeaderDeadline = 10s;            // an HTTP peer that dribbles is cut
constexpr auto kBodyDeadline = 10s;
constexpr auto kIdleDeadline = 2min;             // between two requests on a kept connection
constexpr auto kStallDeadline = 30s;             // a peer that takes no byte of its answer for so long is cut
constexpr auto kUnacknowledged = 15s;            // three heartbeats to a TCP peer whose machine is gone
constexpr auto kLinger = 2s;                     // for the rest of a refused request, so that its sender reads why
constexpr size_t kConnections = 4096;            // per listener, so that descriptors never run out

}  // namespace jitwg::limits
