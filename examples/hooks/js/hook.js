// Moves a host name and a service with the virtual address. Every call may be repeated; what is as it should be stays
// untouched. A host function that fails throws, and an exception ends the run: its text is what the log will say.
import { get } from "carpd:hooks/config@1.0.0";
import { set } from "carpd:hooks/hostname@1.0.0";
import { info } from "carpd:hooks/log@1.0.0";
import { start, stop } from "carpd:hooks/service@1.0.0";

// The table [hook.NAME.config].
const configured = () => JSON.parse(get());

// What a result of the contract throws, in words.
function words(error) {
  const { tag, val } = error.payload ?? {};
  if (tag === undefined) return String(error);
  return tag === "host" ? val.message : (val ?? tag);
}

// An entry point gives nothing, or throws the text of its failure.
function entry(act) {
  return (event) => {
    try {
      act(event, configured());
    } catch (error) {
      throw words(error);
    }
  };
}

export const onMaster = {
  // We are master: the addresses are up and announced.
  onMaster: entry((event, config) => {
    set(config.name_master, undefined);
    start(config.service, undefined);
    info("Took over", [["instance", event.instance.name]]);
  }),
};

export const onBackup = {
  // We are not master, or no longer: the addresses are gone.
  onBackup: entry((event, config) => {
    stop(config.service, undefined);
    set(config.name_backup, undefined);
    info("Stands by", [["instance", event.instance.name]]);
  }),
};
