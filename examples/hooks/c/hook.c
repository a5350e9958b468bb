// Runs a service on the master alone. Every call may be repeated; what is as it should be stays untouched.
#include <stdlib.h>
#include <string.h>

#include "bindings/hook.h"

static const char SERVICE[] = "httpd";

// What an error says.
static hook_string_t *words(carpd_hooks_service_error_t *error) {
  static hook_string_t superseded;
  switch (error->tag) {
  case CARPD_HOOKS_TYPES_ERROR_DENIED:
    return &error->val.denied;
  case CARPD_HOOKS_TYPES_ERROR_INVALID:
    return &error->val.invalid;
  case CARPD_HOOKS_TYPES_ERROR_HOST:
    return &error->val.host.message;
  case CARPD_HOOKS_TYPES_ERROR_OVER_BUDGET:
    return &error->val.over_budget;
  default:
    hook_string_set(&superseded, "superseded by a newer state");
    return &superseded;
  }
}

// Logs a sentence with the virtual host's name.
static void tell(const char *sentence, carpd_hooks_types_event_t *event) {
  hook_string_t message;
  hook_string_set(&message, sentence);
  hook_tuple2_string_string_t field;
  hook_string_set(&field.f0, "instance");
  field.f1 = event->instance.name;
  hook_list_tuple2_string_string_t fields = {&field, 1};
  carpd_hooks_log_info(&message, &fields);
}

// An entry point gives true, or false and the text of its failure. The text is freed by whoever called us.
static bool failed(carpd_hooks_service_error_t *error, hook_string_t *err) {
  hook_string_t *text = words(error);
  err->ptr = malloc(text->len);
  err->len = err->ptr ? text->len : 0;
  if (err->ptr)
    memcpy(err->ptr, text->ptr, text->len);
  return false;
}

// We are master: the addresses are up and announced.
bool exports_carpd_hooks_on_master_on_master(exports_carpd_hooks_on_master_event_t *event, hook_string_t *err) {
  hook_string_t unit;
  carpd_hooks_service_outcome_t outcome;
  carpd_hooks_service_error_t error;
  hook_string_set(&unit, SERVICE);
  if (!carpd_hooks_service_start(&unit, NULL, &outcome, &error))
    return failed(&error, err);
  tell("Took over", event);
  return true;
}

// We are not master, or no longer: the addresses are gone.
bool exports_carpd_hooks_on_backup_on_backup(exports_carpd_hooks_on_backup_event_t *event, hook_string_t *err) {
  hook_string_t unit;
  carpd_hooks_service_outcome_t outcome;
  carpd_hooks_service_error_t error;
  hook_string_set(&unit, SERVICE);
  if (!carpd_hooks_service_stop(&unit, NULL, &outcome, &error))
    return failed(&error, err);
  tell("Stands by", event);
  return true;
}
